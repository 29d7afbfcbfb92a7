import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ImagePatch } from './image-patch.ts';
import { Changes } from './testing/applying.ts';

const CELL = 64;
const MOST = 12 * CELL;

interface Job {
  readonly baseBytes: number;
  readonly imageBytes: number;
  /** Where the tail is freed first of all, as ZFS does behind the last block; and whether it does. */
  readonly tail: number | undefined;
  readonly steps: readonly { readonly offset: number; readonly length: number; readonly write: boolean }[];
}

/** What ZFS may send: steps that ascend and do not overlap, writes within the image, frees also beyond it. */
const job: fc.Arbitrary<Job> = fc
  .record({
    baseBytes: fc.nat(MOST),
    imageBytes: fc.integer({ min: 1, max: MOST }),
    tail: fc.option(fc.nat(MOST), { nil: undefined }),
    steps: fc.array(
      fc.record({
        gap: fc.oneof(fc.constant(0), fc.nat(40), fc.nat(300)),
        length: fc.oneof(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 400 })),
        write: fc.boolean(),
      }),
      { maxLength: 10 },
    ),
  })
  .map(({ baseBytes, imageBytes, tail, steps }) => {
    let at = 0;
    const placed: Job['steps'][number][] = [];
    // A volume that shrank has its end freed: nothing of what was there may be left.
    const zeroFrom = imageBytes < baseBytes ? Math.min(tail ?? imageBytes, imageBytes) : (tail ?? Infinity);
    for (const { gap, length, write } of steps) {
      at += gap;
      const room = write ? imageBytes - at : Infinity;
      if (room <= 0) break;
      placed.push({ offset: at, length: Math.min(length, room), write });
      at += length;
    }
    return { baseBytes, imageBytes, tail: zeroFrom === Infinity ? undefined : zeroFrom, steps: placed };
  });

function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = 1 + ((i * 31 + seed * 17) % 159);
  return bytes;
}

describe('ImagePatch', () => {
  test('equals the same writes and frees on a plain buffer', () => {
    fc.assert(
      fc.property(job, ({ baseBytes, imageBytes, tail, steps }) => {
        const base = noise(baseBytes, 1);
        const twin = Buffer.alloc(8 * MOST);
        twin.set(base);
        const changes = new Changes(CELL);
        const patch = new ImagePatch(changes, CELL, baseBytes);
        if (tail !== undefined) {
          patch.free(tail, Infinity);
          twin.fill(0, tail);
        }
        steps.forEach(({ offset, length, write }, i) => {
          if (write) {
            const bytes = noise(length, i + 2);
            patch.write(offset, bytes);
            twin.set(bytes, offset);
          } else {
            patch.free(offset, length);
            twin.fill(0, offset, Math.min(offset + length, twin.length));
          }
        });
        patch.finish(imageBytes);
        expect(Buffer.compare(changes.apply(base, imageBytes), twin.subarray(0, imageBytes))).toBe(0);
      }),
      { numRuns: 3000 },
    );
  });

  test('touches nothing that nobody wrote', () => {
    const changes = new Changes(CELL);
    const patch = new ImagePatch(changes, CELL, 10 * CELL);
    patch.free(10 * CELL, Infinity);
    patch.write(3 * CELL + 5, noise(CELL, 0));
    patch.free(6 * CELL, 2 * CELL);
    patch.finish(10 * CELL);
    expect(changes.list.map(({ index, count, cell }) => [index, count, cell?.missing])).toEqual([
      [3, 1, [{ from: 0, to: 5 }]],
      [4, 1, [{ from: 5, to: CELL }]],
      [6, 2, undefined],
    ]);
  });

  test('an image without a base is complete everywhere, and holes are freed', () => {
    const changes = new Changes(CELL);
    const patch = new ImagePatch(changes, CELL, 0);
    patch.write(5 * CELL + 1, noise(3, 0));
    patch.finish(8 * CELL + 1);
    expect(changes.list.map(({ index, count, cell }) => [index, count, cell?.missing, cell?.length])).toEqual(
      [
        [0, 5, undefined, undefined],
        [5, 1, [], CELL],
        [6, 2, undefined, undefined],
        [8, 1, [], 1],
      ],
    );
  });

  test('refuses what does not ascend and what is beyond the image', () => {
    const fresh = (): ImagePatch => new ImagePatch(new Changes(CELL), CELL, 4 * CELL);
    const back = fresh();
    back.write(2 * CELL, noise(4, 0));
    expect(() => back.write(CELL, noise(4, 0))).toThrow(
      /do not ascend: byte 64 of the volume comes too late/,
    );
    const freed = fresh();
    freed.free(CELL, 2 * CELL);
    expect(() => freed.write(2 * CELL, noise(4, 0))).toThrow(/do not ascend/);
    const beyond = fresh();
    beyond.write(5 * CELL, noise(4, 0));
    expect(() => beyond.finish(5 * CELL)).toThrow(/it writes beyond the volume's 320 bytes/);
  });
});
