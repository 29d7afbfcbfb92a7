import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { chooseSubset, parseSubset, type SubsetPack } from './check-subset.ts';

const anyPacks = fc
  .array(fc.record({ firstByte: fc.nat(255), size: fc.integer({ min: 1, max: 1000 }) }), { maxLength: 60 })
  .map((packs) => packs.map((pack, row): SubsetPack => ({ ...pack, row })));

describe('parseSubset', () => {
  test.each([
    ['1/1', { kind: 'part', part: 1, of: 1 }],
    ['3/12', { kind: 'part', part: 3, of: 12 }],
    ['2.5%', { kind: 'percent', percent: 2.5 }],
    ['100%', { kind: 'percent', percent: 100 }],
    ['500', { kind: 'bytes', bytes: 500 }],
    ['2G', { kind: 'bytes', bytes: 2 * 1024 ** 3 }],
  ])('reads %s', (text, subset) => {
    expect(parseSubset(text)).toEqual(subset);
  });

  test.each(['', '0/3', '4/3', '1/257', '0%', '101%', '-5%', '0', '5X', 'all', '1/'])(
    'refuses "%s"',
    (text) => {
      expect(() => parseSubset(text)).toThrow(RangeError);
    },
  );
});

describe('chooseSubset', () => {
  test('the parts of a whole are disjoint and cover it', () => {
    fc.assert(
      fc.property(anyPacks, fc.integer({ min: 1, max: 256 }), (packs, of) => {
        const rows: number[] = [];
        for (let part = 1; part <= of; part++)
          rows.push(...chooseSubset(packs, { kind: 'part', part, of }).map((pack) => pack.row));
        expect(rows.sort((a, b) => a - b)).toEqual(packs.map((pack) => pack.row));
      }),
    );
  });

  test('a share is rounded up to whole packs, each at most once', () => {
    fc.assert(
      fc.property(anyPacks, fc.integer({ min: 1, max: 100 }), (packs, percent) => {
        const chosen = chooseSubset(packs, { kind: 'percent', percent });
        expect(chosen).toHaveLength(Math.ceil((packs.length * percent) / 100));
        expect(new Set(chosen).size).toBe(chosen.length);
      }),
    );
  });

  test('a number of bytes is not exceeded, but for the first pack', () => {
    fc.assert(
      fc.property(anyPacks, fc.integer({ min: 1, max: 5000 }), (packs, bytes) => {
        const chosen = chooseSubset(packs, { kind: 'bytes', bytes });
        expect(chosen.length > 0).toBe(packs.length > 0);
        const total = chosen.reduce((sum, pack) => sum + pack.size, 0);
        expect(total <= Math.max(bytes, chosen[0]?.size ?? 0)).toBe(true);
      }),
    );
  });

  test('chance chooses, and all can be chosen', () => {
    const packs = [1, 2, 3].map((row) => ({ row, firstByte: 0, size: 1 }));
    const last = chooseSubset(packs, { kind: 'percent', percent: 1 }, descending());
    expect(last.map(({ row }) => row)).toEqual([3]);
    expect(chooseSubset(packs, { kind: 'all' })).toEqual(packs);
  });

  function descending(): () => number {
    let next = 1;
    return () => (next /= 2);
  }
});
