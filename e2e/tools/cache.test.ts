import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { cached, cacheRoot } from './cache.ts';

const before = process.env['XDG_CACHE_HOME'];
let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'datamover-cache-'));
  process.env['XDG_CACHE_HOME'] = home;
  jest.spyOn(console, 'error').mockReturnValue();
});

afterEach(async () => {
  jest.restoreAllMocks();
  if (before === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = before;
  await rm(home, { recursive: true });
});

test('builds once per set of inputs', async () => {
  const built: string[] = [];
  const build = (version: string) => async (folder: string) => {
    built.push(version);
    await writeFile(join(folder, 'program'), version);
    return version;
  };
  const one = await cached('tool', ['1', 'go 1.26'], build('one'));
  const again = await cached('tool', ['1', 'go 1.26'], build('again'));
  const other = await cached('tool', ['1', 'go 1.27'], build('other'));
  expect(built).toEqual(['one', 'other']);
  expect(again).toEqual(one);
  expect(other.folder).not.toBe(one.folder);
  expect(await readdir(one.folder)).toEqual(['program', 'version']);
});

test('a build that fails leaves nothing, and the next one tries again', async () => {
  const failing = cached('tool', ['1'], async (folder) => {
    await writeFile(join(folder, 'half'), '');
    throw new Error('no compiler');
  });
  await expect(failing).rejects.toThrow('no compiler');
  expect(await readdir(cacheRoot())).toEqual([]);
  expect((await cached('tool', ['1'], () => Promise.resolve('good'))).version).toBe('good');
});

test('two builds of the same at once end with one whole folder', async () => {
  const build = async (folder: string): Promise<string> => {
    await writeFile(join(folder, 'program'), '');
    return 'same';
  };
  const both = await Promise.all([cached('tool', ['1'], build), cached('tool', ['1'], build)]);
  expect(both[0]).toEqual(both[1]);
  expect(await readdir(cacheRoot())).toHaveLength(1);
});
