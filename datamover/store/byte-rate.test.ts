import { expect, test } from '@jest/globals';
import fc from 'fast-check';

import { ByteRate } from './byte-rate.ts';

/** Milliseconds for pieces taken one after the other. */
async function timeFor(rate: ByteRate, pieces: readonly number[]): Promise<number> {
  const begun = performance.now();
  for (const bytes of pieces) await rate.take(bytes);
  // The last piece is let go at once; the bucket owes for it. One more byte waits until the debt is paid.
  await rate.take(1);
  return performance.now() - begun;
}

test('without a limit nothing waits', () => {
  const rate = new ByteRate();
  expect(rate.take(1e12)).toBeUndefined();
});

test('no sequence of pieces is faster than the rate, nor much slower', async () => {
  const bytesPerSecond = 1_000_000;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 8 }),
      async (pieces) => {
        const rate = new ByteRate(bytesPerSecond);
        const total = pieces.reduce((sum, bytes) => sum + bytes, 0);
        const expected = (total / bytesPerSecond) * 1000;
        const took = await timeFor(rate, pieces);
        expect(took).toBeGreaterThanOrEqual(expected - 3);
        expect(took).toBeLessThan(expected + 1000);
      },
    ),
    { numRuns: 15 },
  );
});

test('many at once share the rate', async () => {
  const rate = new ByteRate(1_000_000);
  const begun = performance.now();
  await Promise.all(Array.from({ length: 20 }, async () => rate.take(10_000)));
  expect(performance.now() - begun).toBeGreaterThanOrEqual(185);
});

test('a silence saves up a tenth of a second and no more', async () => {
  const rate = new ByteRate(1_000_000);
  await new Promise((resolve) => setTimeout(resolve, 400));
  let passed = 0;
  while (rate.take(10_000) === undefined) passed += 10_000;
  expect(passed).toBeGreaterThan(90_000);
  expect(passed).toBeLessThanOrEqual(110_000);
});

test('a new rate is felt by those who wait already', async () => {
  const rate = new ByteRate(1000);
  void rate.take(1);
  const waiting = [100_000, 100_000, 1].map(async (bytes) => rate.take(bytes));
  const begun = performance.now();
  rate.bytesPerSecond = 100_000_000;
  await Promise.all(waiting);
  rate.bytesPerSecond = 1000;
  const last = rate.take(1_000_000);
  const blocked = rate.take(1);
  rate.bytesPerSecond = undefined;
  await Promise.all([last, blocked]);
  expect(performance.now() - begun).toBeLessThan(5000);
});

test('who gives up waiting is let go and charged nothing', async () => {
  const rate = new ByteRate(100_000);
  await rate.take(10_000);
  const stopping = new AbortController();
  const waiting = rate.take(100_000_000, stopping.signal);
  const next = rate.take(1);
  stopping.abort();
  await waiting;
  const begun = performance.now();
  await next;
  expect(performance.now() - begun).toBeLessThan(5000);
});

test.each([0, -1, Number.NaN])('a rate of %d is refused', (bytesPerSecond) => {
  expect(() => new ByteRate(bytesPerSecond)).toThrow(/would never end/);
});
