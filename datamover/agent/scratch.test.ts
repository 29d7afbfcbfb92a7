import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { start } from '../process/spawn.ts';
import { Scratch } from './scratch.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'datamover-scratch-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

test("a transfer's folder is for this user alone, and goes with it", async () => {
  const scratch = await Scratch.open(root);
  const folder = await scratch.make('b1');
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  await writeFile(join(folder, 'secret'), 'x');
  await scratch.remove('b1');
  expect(await readdir(scratch.folder)).toEqual(['lock']);
  await scratch.close();
  expect(await readdir(root)).toEqual([]);
});

test('what a killed agent left is removed, what a living one has stays', async () => {
  const module = new URL('./scratch.js', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then(async ({ Scratch }) => {
    const scratch = await Scratch.open(${JSON.stringify(root)});
    await scratch.make('b1');
    console.log('ready'); setInterval(() => {}, 1000); })`;
  const other = await start({ file: process.execPath, args: ['-e', script] });
  await new Promise((resolve) => other.stdout.once('data', resolve));
  const scratch = await Scratch.open(root);
  expect(await scratch.sweep(root)).toEqual([]);
  process.kill(other.pid, 'SIGKILL');
  await other.finished.catch(() => undefined);
  expect(await scratch.sweep(root)).toHaveLength(1);
  expect(await readdir(root)).toHaveLength(1);
  await scratch.close();
});

test('a folder that cannot be used is refused with what helps', async () => {
  await writeFile(join(root, 'file'), '');
  await expect(Scratch.open(join(root, 'file'))).rejects.toThrow(/use the scratch folder .*--scratch/);
});
