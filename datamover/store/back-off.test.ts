import { expect, test } from '@jest/globals';

import { BackOff } from './back-off.ts';

const options = { concurrency: 8, baseMs: 10, maxMs: 100, random: () => 1 };

async function enter(backOff: BackOff): Promise<{ startedAt: number }> {
  const ticket = await backOff.enter();
  if (ticket === undefined) throw new Error('not let in');
  return ticket;
}

test('pauses grow twofold up to the longest, a random half of each', () => {
  const high = new BackOff({ ...options, random: () => 1 });
  const low = new BackOff({ ...options, random: () => 0 });
  expect([0, 1, 2, 3, 4, 50].map((n) => high.pause(n))).toEqual([10, 20, 40, 80, 100, 100]);
  expect([0, 1, 2, 3, 4, 50].map((n) => low.pause(n))).toEqual([5, 10, 20, 40, 50, 50]);
});

test('one refusal of many calls at once counts once; the next one halves again', async () => {
  const backOff = new BackOff(options);
  const tickets = await Promise.all(Array.from({ length: 8 }, () => enter(backOff)));
  for (const ticket of tickets) {
    backOff.refused(ticket);
    backOff.leave();
  }
  expect(backOff.concurrency).toBe(4);
  for (const expected of [2, 1, 1]) {
    backOff.refused(await enter(backOff));
    backOff.leave();
    expect(backOff.concurrency).toBe(expected);
  }
});

test('after a refusal nobody starts before the pause is over, nor before Retry-After', async () => {
  const backOff = new BackOff(options);
  const ticket = await enter(backOff);
  backOff.refused(ticket, 60);
  backOff.leave();
  const begun = performance.now();
  await Promise.all([enter(backOff), enter(backOff)]);
  expect(performance.now() - begun).toBeGreaterThan(55);
});

test('successes bring the calls back one by one', async () => {
  const backOff = new BackOff({ ...options, baseMs: 1 });
  backOff.refused(await enter(backOff));
  backOff.leave();
  expect(backOff.concurrency).toBe(4);
  let successes = 0;
  for (; backOff.concurrency < 8; successes++) {
    await enter(backOff);
    backOff.succeeded();
    backOff.leave();
  }
  expect(successes).toBe(4 + 5 + 6 + 7);
  backOff.succeeded();
  expect(backOff.concurrency).toBe(8);
});

test('who is stopped while waiting for the pause is not let in', async () => {
  const backOff = new BackOff(options);
  backOff.refused(await enter(backOff), 60_000);
  backOff.leave();
  const stopping = new AbortController();
  const waiting = backOff.enter(stopping.signal);
  setTimeout(() => stopping.abort(), 5);
  expect(await waiting).toBeUndefined();
});
