import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { plainLength, planReads, sortByPack, type WantedBlob } from './read-plan.ts';

const LIMITS = { bytes: 4 << 20, gap: 128 << 10 };

/** Blobs of a few packs, at places where they do not overlap, wanted in any order. */
const wantedBlobs = fc
  .array(
    fc.record({
      pack: fc.constantFrom('a', 'b', 'c'),
      gap: fc.nat(300 << 10),
      length: fc.integer({ min: 33, max: 6 << 20 }),
      compressed: fc.boolean(),
      order: fc.nat(),
    }),
    { maxLength: 40 },
  )
  .map((parts) => {
    const ends = new Map<string, number>();
    return parts
      .map(({ pack, gap, length, compressed, order }, i) => {
        const offset = (ends.get(pack) ?? 0) + gap;
        ends.set(pack, offset + length);
        const uncompressedLength = compressed ? length * 2 : 0;
        const blob: WantedBlob = {
          id: String(i),
          location: { type: 'data', pack, offset, length, uncompressedLength },
          positions: [i],
        };
        return { blob, order };
      })
      .sort((x, y) => x.order - y.order)
      .map(({ blob }) => blob);
  });

describe('planReads', () => {
  test('reads every wanted blob once, in the order asked for, each inside of its range', () => {
    fc.assert(
      fc.property(wantedBlobs, fc.boolean(), (blobs, sorted) => {
        const wanted = sorted ? sortByPack(blobs) : blobs;
        const reads = planReads(wanted, LIMITS);
        expect(reads.flatMap((read) => read.blobs)).toEqual(wanted);
        for (const read of reads) {
          expect(read.plainBytes).toBe(
            read.blobs.reduce((sum, { location }) => sum + plainLength(location), 0),
          );
          let at = read.offset;
          for (const { location } of read.blobs) {
            expect(location.pack).toBe(read.pack);
            expect(location.offset).toBeGreaterThanOrEqual(at);
            expect(location.offset - at).toBeLessThanOrEqual(LIMITS.gap);
            at = location.offset + location.length;
          }
          expect(at).toBe(read.offset + read.length);
          expect(read.blobs[0]?.location.offset).toBe(read.offset);
        }
      }),
    );
  });

  test('keeps to the limits unless a single blob is longer', () => {
    fc.assert(
      fc.property(wantedBlobs, (blobs) => {
        for (const read of planReads(sortByPack(blobs), LIMITS)) {
          if (read.blobs.length === 1) continue;
          expect(read.length).toBeLessThanOrEqual(LIMITS.bytes);
          expect(read.plainBytes).toBeLessThanOrEqual(LIMITS.bytes);
        }
      }),
    );
  });

  test('joins what one request can bring', () => {
    const at = (offset: number): WantedBlob => ({
      id: String(offset),
      location: { type: 'data', pack: 'a', offset, length: 1000, uncompressedLength: 0 },
      positions: [0],
    });
    expect(planReads([at(0), at(1000), at(3000)], LIMITS).length).toBe(1);
    expect(planReads([at(0), at(1001 + LIMITS.gap)], LIMITS).length).toBe(2);
    // A pipe wants them in this order: going back costs a request.
    expect(planReads([at(1000), at(0)], LIMITS).length).toBe(2);
  });
});

describe('sortByPack', () => {
  test('keeps every blob, reads each pack in one go and front to back', () => {
    fc.assert(
      fc.property(wantedBlobs, (blobs) => {
        const sorted = sortByPack(blobs);
        expect(new Set(sorted)).toEqual(new Set(blobs));
        const packs = sorted.map(({ location }) => location.pack);
        expect(packs.filter((pack, i) => pack !== packs[i - 1]).length).toBe(new Set(packs).size);
        sorted.forEach(({ location }, i) => {
          const next = sorted[i + 1]?.location;
          if (next?.pack === location.pack) expect(next.offset).toBeGreaterThan(location.offset);
        });
      }),
    );
  });
});
