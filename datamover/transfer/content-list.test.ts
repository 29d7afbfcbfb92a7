import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sha256, toBytes } from '../repository/id.ts';
import { ContentList } from './content-list.ts';

const hex = (list: ContentList): string[] => [...list].map((id) => id.toString('hex'));

describe('ContentList', () => {
  test('keeps each id at its place, in whatever order they come', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.infiniteStream(fc.nat()), (count, order) => {
        const ids = Array.from({ length: count }, (_, i) => sha256(Buffer.from(String(i))));
        const shuffled = ids
          .map((id, place) => ({ id, place, key: order.next().value as number }))
          .sort((a, b) => a.key - b.key);
        const list = new ContentList();
        for (const { id, place } of shuffled) list.set(place, toBytes(id));
        expect(list.length).toBe(count);
        expect(hex(list)).toEqual(ids);
        expect(Buffer.from(list.at(count - 1)).toString('hex')).toBe(ids.at(-1));
      }),
    );
  });

  test('filled with one id, then changed at a place', () => {
    const list = new ContentList();
    const [zero, other] = [sha256(Buffer.of(0)), sha256(Buffer.of(1))];
    list.fill(toBytes(zero), 5);
    list.set(2, toBytes(other));
    expect(hex(list)).toEqual([zero, zero, other, zero, zero]);
  });

  test('a list with a gap never becomes a file', () => {
    const list = new ContentList();
    list.set(0, toBytes('ab'.repeat(32)));
    list.set(2, toBytes('cd'.repeat(32)));
    expect(() => hex(list)).toThrow(/no blob came for place 1/);
  });
});
