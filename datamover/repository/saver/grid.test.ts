import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CELL_BYTES } from './arena.ts';
import { cellCount, cellLength, CellList, type CellRun } from './grid.ts';

/** Runs that ascend and do not touch, as the planner makes them. */
const runs = fc
  .array(fc.record({ gap: fc.integer({ min: 1, max: 2 ** 30 }), count: fc.integer({ min: 1, max: 50 }) }))
  .map((parts) => {
    let next = 0;
    return parts.map(({ gap, count }): CellRun => {
      const first = next + gap - 1;
      next = first + count + 1;
      return { first, count };
    });
  });

describe('CellList', () => {
  test('gives the cells of all runs in order, each once', () => {
    fc.assert(
      fc.property(runs, (list) => {
        const expected = list.flatMap(({ first, count }) =>
          Array.from({ length: count }, (_, i) => first + i),
        );
        const cells = CellList.of(list);
        expect(cells.total).toBe(expected.length);
        expect(expected.map((_, position) => cells.at(position))).toEqual(expected);
        // Another thread opens the same memory.
        const opened = CellList.open(cells.shared);
        expect(opened.total).toBe(cells.total);
        if (opened.total > 0) expect(opened.at(opened.total - 1)).toBe(expected.at(-1));
      }),
    );
  });

  test('takes 16 bytes a run', () => {
    const list = Array.from({ length: 1000 }, (_, i) => ({ first: 3 * i, count: 1 }));
    expect(CellList.of(list).shared.byteLength).toBe(16 * 1001);
  });
});

describe('cells of an image', () => {
  test('cover it exactly', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 40), (bytes) => {
        const cells = cellCount(bytes);
        if (cells === 0) return;
        const last = cellLength(cells - 1, bytes);
        expect((cells - 1) * CELL_BYTES + last).toBe(bytes);
        expect(last).toBeGreaterThan(0);
        if (cells > 1) expect(cellLength(cells - 2, bytes)).toBe(CELL_BYTES);
      }),
    );
  });
});
