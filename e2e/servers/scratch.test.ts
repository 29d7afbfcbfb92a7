import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { run } from '../../datamover/process/spawn.ts';
import { scratchDirectory, sweep } from './scratch.ts';

test('sweep removes what a dead process left, and nothing of a living one', async () => {
  const mine = await scratchDirectory('sweep');
  // A process that has ended by the time its id is used.
  const { stdout } = await run({ file: process.execPath, args: ['-e', 'console.log(process.pid)'] });
  const theirs = mine.replace(`-${process.pid}-`, `-${stdout.trim()}-`);
  await mkdir(theirs);
  sweep();
  expect(existsSync(theirs)).toBe(false);
  expect(existsSync(mine)).toBe(true);
  await rm(mine, { recursive: true });
});
