import { expect, test } from '@jest/globals';

import { Slots } from './slots.ts';

test('no more than the limit are taken, and those who wait are served in order', async () => {
  const slots = new Slots(2);
  const order: number[] = [];
  const jobs = Array.from({ length: 6 }, async (_, i) => {
    expect(await slots.take()).toBe(true);
    expect(slots.taken).toBeLessThanOrEqual(2);
    order.push(i);
    await new Promise((resolve) => setTimeout(resolve, 2));
    slots.give();
  });
  await Promise.all(jobs);
  expect(order).toEqual([0, 1, 2, 3, 4, 5]);
  expect(slots.taken).toBe(0);
});

test('a raised limit lets those in who wait; a lowered one waits for slots to come back', async () => {
  const slots = new Slots(1);
  await slots.take();
  let second = false;
  const waiting = slots.take().then(() => (second = true));
  await Promise.resolve();
  expect(second).toBe(false);
  slots.limit = 2;
  await waiting;
  expect(slots.taken).toBe(2);
  slots.limit = 1;
  let third = false;
  const last = slots.take().then(() => (third = true));
  slots.give();
  await Promise.resolve();
  expect(third).toBe(false);
  slots.give();
  await last;
  expect(slots.taken).toBe(1);
});

test('a limit below one would stop everything for ever: it becomes one', () => {
  const slots = new Slots(4);
  slots.limit = 0;
  expect(slots.limit).toBe(1);
});

test('who gives up waiting takes no slot', async () => {
  const slots = new Slots(1);
  await slots.take();
  const giving = new AbortController();
  const waiting = slots.take(giving.signal);
  giving.abort();
  expect(await waiting).toBe(false);
  expect(await slots.take(AbortSignal.abort())).toBe(false);
  slots.give();
  expect(slots.taken).toBe(0);
  expect(await slots.take()).toBe(true);
});
