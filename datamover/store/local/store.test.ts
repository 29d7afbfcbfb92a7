import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { run } from '../../process/spawn.ts';
import { collect, failure, saved } from '../store.suite.ts';
import { localFailure } from './failures.ts';
import { temporaryName } from './leftovers.ts';
import { LocalStore } from './store.ts';

let folder: string;
let store: LocalStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'local-'));
  store = new LocalStore(join(folder, 'repository'));
});
afterEach(() => rm(folder, { recursive: true }));

async function namesOf(path: string): Promise<string[]> {
  return (await readdir(join(store.location, path))).sort();
}

/** Runs `script`, an ES module with `store` and `content` (8 MiB) at hand, in a process of its own. */
function program(script: string): string[] {
  const source = `
    const { LocalStore } = await import(${JSON.stringify(new URL('./store.js', import.meta.url).href)});
    const store = new LocalStore(${JSON.stringify(store.location)});
    const content = Buffer.alloc(8 << 20, 7);
    ${script}`;
  return ['--input-type=module', '--eval', source];
}

describe('a local store', () => {
  test('has restic’s layout, for its owner alone', async () => {
    await store.create();
    expect(await namesOf('.')).toEqual(['data', 'index', 'keys', 'locks', 'snapshots']);
    const packs = await namesOf('data');
    expect(packs).toHaveLength(256);
    expect([packs[0], packs[255]]).toEqual(['00', 'ff']);
    const { handle } = await saved(store, 'data', 10);
    await saved(store, 'config', 10);
    const path = join('data', handle.name.slice(0, 2), handle.name);
    for (const file of [path, 'config'])
      expect((await stat(join(store.location, file))).mode & 0o777).toBe(0o600);
    for (const name of ['.', 'data', 'data/00', 'keys']) {
      expect((await stat(join(store.location, name))).mode & 0o777).toBe(0o700);
    }
  });

  test('makes a missing folder of packs, but never the repository itself', async () => {
    const error = await failure(saved(store, 'data', 10));
    expect(error.message).toMatch(/save .*repository: the folder does not exist \(.*mounted.*init/);
    expect(error.kind).toBe('no-repository');
    expect((await failure(collect(store.list(['keys'])))).message).toMatch(/the folder does not exist/);
    expect(await readdir(folder)).toEqual([]);
    await mkdir(store.location);
    await saved(store, 'data', 10);
    expect(await collect(store.list(['data', 'keys', 'config']))).toHaveLength(1);
  });

  test('a file being written is in no listing, and is whole when it is', async () => {
    await store.create();
    const { handle } = await saved(store, 'index', 10);
    await writeFile(await temporaryName(join(store.location, 'index', handle.name)), 'half');
    await writeFile(join(store.location, 'index', 'README'), 'something else');
    expect((await collect(store.list(['index']))).map(({ name }) => name)).toEqual([handle.name]);
  });

  test('a killed writer’s file is removed by the next writer; a living one’s is left alone', async () => {
    await store.create();
    // Without a limit a write is over at once; the pace holds it in the middle.
    const script = `await store.save({ type: 'data', name: '${'a'.repeat(64)}' }, content,
      { pace: (bytes) => { process.stdout.write('x'); return globalThis.held ? new Promise((r) => setTimeout(r, 1e6)) : void (globalThis.held = true); } });`;
    const child = spawn(process.execPath, program(script), { stdio: ['ignore', 'pipe', 'inherit'] });
    // One mark for each piece; both may come in one chunk.
    await new Promise<void>((resolve) => {
      let marks = 0;
      child.stdout.on('data', (chunk: Buffer) => {
        marks += chunk.length;
        if (marks >= 2) resolve();
      });
    });
    expect(await namesOf('data/aa')).toEqual([expect.stringMatching(/^a{64}-tmp-[0-9a-f]{12}-\d+-\d+$/)]);
    await saved(new LocalStore(store.location), 'keys', 10);
    expect(await namesOf('data/aa')).toHaveLength(1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await saved(new LocalStore(store.location), 'keys', 10);
    expect(await namesOf('data/aa')).toEqual([]);
  });

  test('a file left on another machine is removed when it is a day old', async () => {
    await store.create();
    const path = join(store.location, 'locks', `${'b'.repeat(64)}-tmp-0123456789ab-1-1`);
    await writeFile(path, 'half');
    await new LocalStore(store.location).create();
    expect(await namesOf('locks')).toHaveLength(1);
    const old = new Date(Date.now() - 25 * 3600_000);
    await utimes(path, old, old);
    await new LocalStore(store.location).create();
    expect(await namesOf('locks')).toEqual([]);
  });

  test('a save that fails half-way leaves nothing behind', async () => {
    await store.create();
    const script = `await store.save({ type: 'data', name: '${'c'.repeat(64)}' }, content).catch((error) => {
      console.log(JSON.stringify({ message: error.message, permanent: store.isPermanent(error) })); });`;
    // The limit on file sizes is a full disk that needs no rights to make.
    const { stdout } = await run({
      file: 'prlimit',
      args: ['--fsize=1000000', process.execPath, ...program(script)],
    });
    const { message, permanent } = JSON.parse(stdout) as { message: string; permanent: boolean };
    expect(message).toMatch(
      /^save .*c{64}: the file system or a limit of this process does not allow a file this long$/,
    );
    expect(permanent).toBe(true);
    expect(await namesOf('data/cc')).toEqual([]);
  });

  test('a full disk is permanent and says what to do', async () => {
    const full = await open('/dev/full', 'w');
    const error: unknown = await full.write(Buffer.alloc(10)).catch((thrown: unknown) => thrown);
    await full.close();
    const said = localFailure('save', '/srv/repository/config', error);
    expect(said.message).toMatch(/^save \/srv\/repository\/config: no space left on the device \(free space/);
    expect(store.isPermanent(said)).toBe(true);
  });

  test('a place that may not be written is permanent and says so', async () => {
    const error = await failure(new LocalStore('/sys/repository').create());
    expect(error.message).toMatch(
      /^create \/sys\/repository: (operation not permitted|permission denied|the file system is read-only)/,
    );
    expect(store.isPermanent(error)).toBe(true);
  });

  test('a file in the place of the folder is refused', async () => {
    await writeFile(store.location, '');
    const error = await failure(store.create());
    expect(error.message).toMatch(/^create .*: a file is in the place of a folder/);
    expect(store.isPermanent(error)).toBe(true);
  });

  test('errors that the file system may recover from are not permanent', () => {
    const error = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
    const said = localFailure('load', 'x', error);
    expect(said.message).toBe('load x: i/o error (EIO)');
    expect(store.isPermanent(said)).toBe(false);
  });

  test('a stopped save leaves nothing behind', async () => {
    await store.create();
    const stopping = new AbortController();
    const pace = (): undefined => {
      stopping.abort();
    };
    const call = store.save({ type: 'data', name: 'd'.repeat(64) }, Buffer.alloc(1 << 20), {
      signal: stopping.signal,
      pace,
    });
    expect((await failure(call)).kind).toBe('cancelled');
    expect(await namesOf('data/dd')).toEqual([]);
  });
});
