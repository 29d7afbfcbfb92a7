import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BitSet } from '../repository/bit-set.ts';
import { drawSample, sampleSize } from './sample.ts';

test.each([
  [0, 0],
  [5, 5],
  [16, 16],
  [1000, 16],
  [3000, 30],
  [1_000_000, 64],
])('of %i unchanged cells %i are compared', (kept, cells) => {
  expect(sampleSize(kept)).toBe(cells);
});

test('a number that is asked for goes before that, as far as there are cells', () => {
  expect(sampleSize(1000, 0)).toBe(0);
  expect(sampleSize(1000, 300)).toBe(300);
  expect(sampleSize(10, 300)).toBe(10);
});

describe('a draw', () => {
  test('takes as many as it should, each once, of the kept cells alone, in order; a seed repeats it', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(999), { maxLength: 300 }),
        fc.nat(40),
        fc.string(),
        (kept, cells, seed) => {
          const set = new BitSet(1000);
          for (const cell of kept) set.add(cell);
          const drawn = drawSample(set, { cells, seed });
          expect(drawn).toHaveLength(Math.min(cells, kept.length));
          expect(new Set(drawn).size).toBe(drawn.length);
          expect(drawn).toEqual(drawn.toSorted((a, b) => a - b));
          expect(drawn.every((cell) => kept.includes(cell))).toBe(true);
          expect(drawSample(set, { cells, seed })).toEqual(drawn);
        },
      ),
    );
  });

  test('gives every cell the same chance', () => {
    const set = new BitSet(50);
    for (let cell = 0; cell < 50; cell++) set.add(cell);
    const hits = new Array<number>(50).fill(0);
    for (let i = 0; i < 5000; i++) {
      for (const cell of drawSample(set, { cells: 5, seed: `${i}` })) hits[cell] = (hits[cell] ?? 0) + 1;
    }
    // 500 each on average, with a deviation of 21.
    for (const count of hits) expect(Math.abs(count - 500)).toBeLessThan(120);
  });
});
