import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { isGone, ownerName, TRANSFER_VARIABLE, type Reach } from './owner.ts';
import { start } from './spawn.ts';

const HOUR = 3_600_000;
const EVERYWHERE: readonly Reach[] = ['one machine', 'many machines'];

afterEach(() => {
  process.env[TRANSFER_VARIABLE] = '';
});

/** A name that another machine, or this one before its boot, would give. */
function elsewhere(own = ownerName()): string {
  return own.replace(/^[0-9a-f]{16}/, '0123456789abcdef');
}

/** A name that a process of another container of this machine would give. */
function besides(own = ownerName()): string {
  return own.replace(/^([0-9a-f]{16})-\d+/, '$1-1');
}

test('a process that runs is not gone, however old what it holds is', () => {
  const own = ownerName();
  expect(own).toMatch(/^[0-9a-f]{16}-\d+-\d+-\d+$/);
  for (const reach of EVERYWHERE) expect(isGone(own, 0, reach)).toBe(false);
});

test('a process that ended is gone, and so is one whose number another process has now', async () => {
  const sleeping = await start({ file: 'sleep', args: ['60'] });
  const [boot, namespace, , started] = ownerName().split('-');
  const its = (pid: number, ticks: string) => `${boot}-${namespace}-${pid}-${ticks}`;
  expect(isGone(its(sleeping.pid, '1'), Date.now(), 'many machines')).toBe(true);
  await sleeping.stop();
  expect(isGone(its(sleeping.pid, started ?? ''), Date.now(), 'many machines')).toBe(true);
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
  expect(isGone(`${boot}-${namespace}-${pid}-${ticks}`, Date.now(), 'many machines')).toBe(true);
  await parent.stop();
});

test('of what one machine alone can reach, whoever held it before its boot is gone', () => {
  expect(isGone(elsewhere(), Date.now(), 'one machine')).toBe(true);
});

test('of what many machines reach, one of another boot may live there: only the age tells', () => {
  expect(isGone(elsewhere(), Date.now() - HOUR, 'many machines')).toBe(false);
  expect(isGone(elsewhere(), Date.now() - 25 * HOUR, 'many machines')).toBe(true);
});

test('of another container only the age tells', () => {
  for (const reach of EVERYWHERE) {
    expect(isGone(besides(), Date.now() - HOUR, reach)).toBe(false);
    expect(isGone(besides(), Date.now() - 25 * HOUR, reach)).toBe(true);
  }
});

test('whoever carried our own transfer is gone wherever he was, but for one that lives here', () => {
  process.env[TRANSFER_VARIABLE] = 'b0123456789abcdef';
  const own = ownerName();
  expect(own).toMatch(/^[0-9a-f]{16}-\d+-\d+-\d+-[0-9a-f]{12}$/);
  expect(isGone(own, 0, 'many machines')).toBe(false);
  const others = [elsewhere(own), besides(own)];
  for (const other of others) expect(isGone(other, Date.now(), 'many machines')).toBe(true);
  // Whoever carries another one may live, and so may whoever carries none.
  process.env[TRANSFER_VARIABLE] = 'b0123456789abcdee';
  for (const other of others) expect(isGone(other, Date.now(), 'many machines')).toBe(false);
  process.env[TRANSFER_VARIABLE] = '';
  for (const other of others) expect(isGone(other, Date.now(), 'many machines')).toBe(false);
  // By older versions names had no transfer.
  process.env[TRANSFER_VARIABLE] = 'b0123456789abcdef';
  const old = elsewhere(own.replace(/-[0-9a-f]{12}$/, ''));
  expect(isGone(old, Date.now() - HOUR, 'many machines')).toBe(false);
});
