import { buffer } from 'node:stream/consumers';
import { start } from '../../../process/spawn.ts';
import type { OpenZfs } from '../../../../e2e/servers/openzfs.ts';
import type { StoredStream } from '../../driver.ts';

/** Lets code under test call `zfs`, as it does on a machine that has it: the proxies are on this process's PATH from here on. */
export function useZfs(zfs: OpenZfs): void {
  Object.assign(process.env, zfs.environment);
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
