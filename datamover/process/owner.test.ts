import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { isGone, ownerName } from './owner.ts';
import { start } from './spawn.ts';

const HOUR = 3_600_000;

test('a process that runs is not gone, however old what it holds is', () => {
  const own = ownerName();
  expect(own).toMatch(/^[0-9a-f]{16}-\d+-\d+-\d+$/);
  expect(isGone(own, 0)).toBe(false);
});

test('a process that ended is gone, and so is one whose number another process has now', async () => {
  const sleeping = await start({ file: 'sleep', args: ['60'] });
  const [boot, namespace, , started] = ownerName().split('-');
  const its = (pid: number, ticks: string) => `${boot}-${namespace}-${pid}-${ticks}`;
  expect(isGone(its(sleeping.pid, '1'), Date.now())).toBe(true);
  await sleeping.stop();
  expect(isGone(its(sleeping.pid, started ?? ''), Date.now())).toBe(true);
});

test('a process that ended and that nobody has asked how is gone too', async () => {
  // A shell that becomes a sleep asks nobody how its child ended.
  const args = ['-c', 'sleep 0 & echo $!; exec sleep 60'];
  const parent = await start({ file: 'sh', args });
  const [said] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(said.toString());
  const stat = (): string => readFileSync(`/proc/${pid}/stat`, 'utf8');
  while (!stat().includes(') Z ')) await delay(10);
  const [boot, namespace] = ownerName().split('-');
  const ticks =
    stat()
      .slice(stat().lastIndexOf(')') + 2)
      .split(' ')[19] ?? '';
  expect(isGone(`${boot}-${namespace}-${pid}-${ticks}`, Date.now())).toBe(true);
  await parent.stop();
});

test('whoever held it before the machine was booted is gone', () => {
  const own = ownerName();
  expect(isGone(own.replace(/^..../, 'xxxx'), Date.now())).toBe(true);
});

test('of another container only the age tells', () => {
  const [boot, , pid, started] = ownerName().split('-');
  const other = `${boot}-1-${pid}-${started}`;
  expect(isGone(other, Date.now() - HOUR)).toBe(false);
  expect(isGone(other, Date.now() - 25 * HOUR)).toBe(true);
});
