import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BitSet } from './bit-set.ts';

test('behaves as a Set of numbers', () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(200)), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (moves) => {
      const model = new Set<number>();
      const bits = new BitSet(201);
      for (const [add, number] of moves) {
        if (add) {
          expect(bits.add(number)).toBe(!model.has(number));
          model.add(number);
        } else {
          bits.remove(number);
          model.delete(number);
        }
      }
      const twin = bits.copy();
      for (const number of model) bits.remove(number);
      expect(bits.size).toBe(0);
      expect(twin.size).toBe(model.size);
      expect([...twin]).toEqual([...model].sort((a, b) => a - b));
    }),
  );
});

test('numbers beyond the capacity are never in it and cannot be added', () => {
  const bits = new BitSet(10);
  expect(bits.has(-1)).toBe(false);
  expect(bits.has(1000)).toBe(false);
  expect(() => bits.add(10)).toThrow(RangeError);
  expect(() => bits.add(-1)).toThrow(RangeError);
});
