import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { start } from '../../../process/spawn.ts';
import type { OpenZfs } from '../../../../e2e/servers/openzfs.ts';
import type { StoredStream } from '../../driver.ts';

/** Lets code under test call `zfs`, as it does on a machine that has it: the proxies are on this process's PATH from here on. */
export function useZfs(zfs: OpenZfs): void {
  Object.assign(process.env, zfs.environment);
}

/** Runs a job of code under test; gives the commands of `zfs` that it needs, in the order of the alphabet: several run at once. */
export async function zfsCommandsOf(zfs: OpenZfs, job: () => Promise<unknown>): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'datamover-zfs-'));
  try {
    const log = join(folder, 'log');
    const script = `#!/bin/sh\necho "$1" >> ${log}\nPATH='${zfs.environment.PATH}' exec zfs "$@"\n`;
    await writeFile(join(folder, 'zfs'), script);
    await chmod(join(folder, 'zfs'), 0o755);
    process.env['PATH'] = `${folder}:${zfs.environment.PATH}`;
    await job();
    return (await readFile(log, 'utf8')).trim().split('\n').sort();
  } finally {
    process.env['PATH'] = zfs.environment.PATH;
    await rm(folder, { recursive: true, force: true });
  }
}

/** What `zfs send` prints. */
export async function sent(zfs: OpenZfs, ...args: string[]): Promise<Buffer> {
  const sending = await start({ file: 'zfs', args: ['send', ...args], env: zfs.environment });
  const bytes = await buffer(sending.stdout);
  await sending.finished;
  return bytes;
}

export async function guidOf(zfs: OpenZfs, snapshot: string): Promise<string> {
  return (await zfs.zfs('get', '-Hpo', 'value', 'guid', snapshot)).trim();
}

/** A stream as a repository would give it, in chunks of `chunkBytes`. */
export function stored(guid: string, bytes: Buffer, fromGuid?: string, chunkBytes = 60_000): StoredStream {
  return {
    guid,
    ...(fromGuid !== undefined && { fromGuid }),
    bytes: bytes.length,
    async *open() {
      for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
    },
  };
}
