import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mergeExtents, type Extent } from './extents.ts';
import { changedObjects, decodeObjectMap } from './object-map.ts';

const extent: fc.Arbitrary<Extent> = fc.record({
  offset: fc.nat(60),
  length: fc.nat(20),
  exists: fc.boolean(),
});

/** What each byte is said to be, the plain way. */
function bytesOf(extents: readonly Extent[], imageBytes: number): string[] {
  const bytes = Array.from({ length: imageBytes }, () => 'same');
  for (const kind of [false, true]) {
    for (const { offset, length, exists } of extents) {
      if (exists === kind) bytes.fill(exists ? 'data' : 'zero', offset, offset + length);
    }
  }
  return bytes;
}

test('merged extents ascend, do not overlap, stay in the image and say the same of each byte', () => {
  fc.assert(
    fc.property(
      fc.array(extent, { maxLength: 12 }),
      fc.integer({ min: 0, max: 70 }),
      (extents, imageBytes) => {
        const merged = mergeExtents(extents, imageBytes);
        let end = 0;
        for (const { offset, length } of merged) {
          expect(offset).toBeGreaterThanOrEqual(end);
          expect(length).toBeGreaterThan(0);
          end = offset + length;
        }
        expect(end).toBeLessThanOrEqual(imageBytes);
        expect(bytesOf(merged, imageBytes)).toEqual(bytesOf(extents, imageBytes));
      },
    ),
    { numRuns: 2000 },
  );
});

/** As Ceph writes it: a header, two bits for each object, a footer of checksums. */
function encoded(states: readonly number[]): Buffer {
  const header = Buffer.alloc(18);
  header.writeUInt32LE(14, 0);
  header.writeBigUInt64LE(BigInt(states.length), 10);
  const data = Buffer.alloc(Math.ceil(states.length / 4));
  for (const [i, state] of states.entries())
    data.writeUInt8(data.readUInt8(i >> 2) | (state << (6 - 2 * (i & 3))), i >> 2);
  return Buffer.concat([header, data, Buffer.alloc(8, 0xff)]);
}

test('an object map is read as it was written, and one of another size is refused', () => {
  const states = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 });
  fc.assert(
    fc.property(states, (map) => {
      expect([...decodeObjectMap(encoded(map), map.length)]).toEqual(map);
      expect(() => decodeObjectMap(encoded(map), map.length + 1)).toThrow(/the object map has \d+ objects/);
    }),
  );
  expect(() => decodeObjectMap(encoded([1, 1, 1, 1, 1]).subarray(0, 19), 5)).toThrow(/cut off/);
  expect(() => decodeObjectMap(Buffer.alloc(3), 0)).toThrow(/a form that is not known/);
});

test('what was written, made or removed between any two maps has changed', () => {
  const [none, written, clean] = [0, 1, 3];
  const maps = [
    [clean, clean, none, written, clean, none],
    [written, clean, none, none, clean, written],
    [clean, clean, none, clean, none],
  ].map((states) => Uint8Array.from(states));
  expect(changedObjects(maps, 10)).toEqual([
    { offset: 0, length: 10, exists: true },
    { offset: 30, length: 10, exists: true },
    { offset: 40, length: 10, exists: false },
    { offset: 50, length: 10, exists: false },
  ]);
  expect(changedObjects(maps.slice(0, 1), 10)).toEqual([]);
});
