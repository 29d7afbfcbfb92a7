import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Fletcher4, SCRATCH_BYTES } from './fletcher4.ts';
import { fletcher4Plain } from './fletcher4-plain.ts';
import { sharedMemory } from '../../process/webassembly.ts';

/** The sums as a stream stores them. */
function stored(bytes: Uint8Array, bigEndian: boolean): Buffer {
  const out = Buffer.alloc(32);
  fletcher4Plain(bytes, bigEndian).forEach((sum, i) =>
    bigEndian ? out.writeBigUInt64BE(sum, 8 * i) : out.writeBigUInt64LE(sum, 8 * i),
  );
  return out;
}

const words = fc
  .uint8Array({ maxLength: 3000 })
  .map((bytes) => Buffer.from(bytes).subarray(0, bytes.length & ~3));

describe('Fletcher4', () => {
  test('equals its plain twin for any bytes, pieces and byte order', () => {
    fc.assert(
      fc.property(words, fc.array(fc.nat(700)), fc.boolean(), (bytes, cuts, bigEndian) => {
        const sum = new Fletcher4(bigEndian);
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          const end = Math.min(bytes.length, at + cut);
          sum.add(bytes, at, end);
          at = end;
        }
        sum.add(bytes, at, bytes.length);
        const right = stored(bytes, bigEndian);
        expect(sum.matches(right, 0)).toBe(true);
        right[bytes.length % 32] = (right[bytes.length % 32] ?? 0) ^ 1;
        expect(sum.matches(right, 0)).toBe(false);
      }),
    );
  });

  test('sums what lies in its memory in place, over more words than one pass takes', () => {
    const memory = sharedMemory(SCRATCH_BYTES + (9 << 20));
    const bytes = Buffer.from(memory.buffer, SCRATCH_BYTES, (9 << 20) - 4);
    // All ones make every sum wrap.
    bytes.fill(0xff);
    const sum = new Fletcher4(false, { memory, scratch: 0 });
    const n = BigInt(bytes.length / 4);
    sum.add(bytes, 0, bytes.length);
    const w = 0xffffffffn;
    const expected = [n, (n * (n + 1n)) / 2n, (n * (n + 1n) * (n + 2n)) / 6n];
    const d = (n * (n + 1n) * (n + 2n) * (n + 3n)) / 24n;
    const right = Buffer.alloc(32);
    [...expected, d].forEach((k, i) => right.writeBigUInt64LE((k * w) & ((1n << 64n) - 1n), 8 * i));
    expect(sum.matches(right, 0)).toBe(true);
  });

  test('a header is added whole, and right only with the sums of all before its last 32 bytes', () => {
    fc.assert(
      fc.property(
        words,
        fc.uint8Array({ minLength: 280, maxLength: 280 }),
        fc.nat(31),
        (before, body, wrongAt) => {
          const head = Buffer.concat([body, stored(Buffer.concat([before, body]), false)]);
          const sum = new Fletcher4(false);
          sum.add(before, 0, before.length);
          expect(sum.addHeader(head, 0)).toBe(true);
          expect(sum.matches(stored(Buffer.concat([before, head]), false), 0)).toBe(true);

          const wrong = Buffer.from(head);
          wrong[280 + wrongAt] = (wrong[280 + wrongAt] ?? 0) ^ 0x10;
          const other = new Fletcher4(false);
          other.add(before, 0, before.length);
          expect(other.addHeader(wrong, 0)).toBe(false);
        },
      ),
      { numRuns: 50 },
    );
  });
});
