import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import { cellsToRead } from './cells.ts';

/** An image and its data: ascending, apart from each other, inside of the image. */
const images = fc
  .record({
    bytes: fc.integer({ min: 0, max: 60 * CELL_BYTES }),
    parts: fc.array(
      fc.record({ gap: fc.nat(6 * CELL_BYTES), length: fc.integer({ min: 1, max: 4 * CELL_BYTES }) }),
      {
        maxLength: 12,
      },
    ),
  })
  .map(({ bytes, parts }) => {
    const extents: { offset: number; length: number }[] = [];
    let at = 0;
    for (const { gap, length } of parts) {
      const offset = at + gap;
      at = Math.min(offset + length, bytes);
      if (offset < bytes) extents.push({ offset, length: at - offset });
    }
    return { bytes, extents };
  });

describe('cellsToRead', () => {
  test('names every cell that data touches and a short last one, no other, each once, in order', () => {
    fc.assert(
      fc.property(images, ({ bytes, extents }) => {
        const cells = Math.ceil(bytes / CELL_BYTES);
        const expected = Array.from({ length: cells }, (_, cell) => cell).filter(
          (cell) =>
            (cell === cells - 1 && bytes % CELL_BYTES !== 0) ||
            extents.some(
              ({ offset, length }) => offset < (cell + 1) * CELL_BYTES && offset + length > cell * CELL_BYTES,
            ),
        );
        const runs = cellsToRead(bytes, extents);
        expect(
          runs.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i)),
        ).toEqual(expected);
        // As few runs as there can be: each costs memory in a sparse image.
        runs.forEach(({ first, count }, i) => {
          expect(count).toBeGreaterThan(0);
          expect(runs[i + 1]?.first ?? Infinity).toBeGreaterThan(first + count);
        });
      }),
    );
  });

  test('an image without data is one hole', () => {
    expect(cellsToRead(0, [])).toEqual([]);
    expect(cellsToRead(5 * CELL_BYTES, [])).toEqual([]);
    expect(cellsToRead(5 * CELL_BYTES + 1, [])).toEqual([{ first: 5, count: 1 }]);
  });
});
