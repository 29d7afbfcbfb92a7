import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startOfParent } from './parent.ts';

let proc: string;
beforeAll(async () => (proc = await mkdtemp(join(tmpdir(), 'proc-'))));
afterAll(() => rm(proc, { recursive: true, force: true }));

async function put(pid: string, stat: string): Promise<void> {
  await mkdir(join(proc, pid), { recursive: true });
  await writeFile(join(proc, pid, 'stat'), stat);
}

/** A line of /proc/PID/stat: twenty-two fields and more. */
function stat(name: string, start: number): string {
  return `7 (${name}) S 1 7 7 0 -1 4194560 ${'0 '.repeat(12)}${start} 0 0\n`;
}

const at = (options: object) => ({ proc, pid: 7, upForMs: 500, now: 1_000_000_000, ...options });

test('the parent began as long before us as /proc says, and we as long ago as we run', async () => {
  await put('self', stat('velero-plugin-d', 500_000));
  await put('7', stat('velero', 200_000));
  expect(startOfParent('velero', at({}))).toEqual(new Date(1_000_000_000 - 500 - 3_000_000));
});

test.each([
  ['another program', stat('node', 200_000)],
  ['a program with a name like a line', stat('velero) S 1 (x', 200_000)],
  ['one that began after us', stat('velero', 600_000)],
  ['a line without its fields', '7 (velero) S 1\n'],
  ['no such line', ''],
])('%s tells nothing', async (_what, line) => {
  await put('7', line);
  expect(startOfParent('velero', at({}))).toBeUndefined();
});

test('a /proc that hides it tells nothing', () => {
  expect(startOfParent('velero', at({ pid: 8 }))).toBeUndefined();
});

test('the real parent of this process began before now', () => {
  const name = readFileSync(`/proc/${process.ppid}/comm`, 'utf8').trimEnd();
  const started = startOfParent(name);
  expect(started?.getTime()).toBeLessThan(Date.now());
  expect(started?.getTime()).toBeGreaterThan(Date.now() - 7 * 24 * 3_600_000);
  expect(startOfParent('velero')).toBeUndefined();
});
