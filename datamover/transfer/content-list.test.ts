import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sha256, toBytes } from '../repository/id.ts';
import { ContentList } from './content-list.ts';

describe('ContentList', () => {
  test('keeps each id at its place, in whatever order they come', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 64 }),
        fc.infiniteStream(fc.nat()),
        (count, expected, order) => {
          const ids = Array.from({ length: count }, (_, i) => sha256(Buffer.from(String(i))));
          const shuffled = ids
            .map((id, place) => ({ id, place, key: order.next().value as number }))
            .sort((a, b) => a.key - b.key);
          const list = new ContentList(expected);
          for (const { id, place } of shuffled) list.set(place, toBytes(id));
          expect(list.length).toBe(count);
          expect(list.ids()).toEqual(ids);
          expect(Buffer.from(list.bytes).toString('hex')).toBe(ids.join(''));
          expect(Buffer.from(list.at(count - 1)).toString('hex')).toBe(ids.at(-1));
        },
      ),
    );
  });

  test('filled with one id, then changed at a place', () => {
    const list = new ContentList(3);
    const [zero, other] = [sha256(Buffer.of(0)), sha256(Buffer.of(1))];
    list.fill(toBytes(zero), 5);
    list.set(2, toBytes(other));
    expect(list.ids()).toEqual([zero, zero, other, zero, zero]);
  });

  test('a list with a gap never becomes a file', () => {
    const list = new ContentList(1);
    list.set(0, toBytes('ab'.repeat(32)));
    list.set(2, toBytes('cd'.repeat(32)));
    expect(() => list.ids()).toThrow(/no blob came for place 1/);
  });
});
