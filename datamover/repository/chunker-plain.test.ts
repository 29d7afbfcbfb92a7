import { createCipheriv } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { chunkLengths, fingerprint, MAX_CHUNK, MIN_CHUNK } from './chunker-plain.ts';
import {
  degree,
  formatPolynomial,
  isIrreducible,
  modulo,
  multiplyModulo,
  parsePolynomial,
  randomPolynomial,
} from './polynomial.ts';

const P = 0x3da3358b4dc173n;

/** The same bytes on every machine: an AES key stream. */
function noise(length: number, seed = 1): Uint8Array {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length));
}

describe('polynomials over GF(2)', () => {
  test('multiply, divide and have a degree', () => {
    expect([0n, 1n, 2n, P].map(degree)).toEqual([-1, 0, 1, 53]);
    expect(modulo(0b110101n, 0b101n)).toBe(0b11n);
    expect(() => modulo(1n, 0n)).toThrow(RangeError);
  });

  test('multiplication distributes over addition', () => {
    const some = fc.bigInt({ min: 0n, max: 2n ** 60n });
    fc.assert(
      fc.property(some, some, some, (a, b, c) => {
        expect(multiplyModulo(a, b ^ c, P)).toBe(multiplyModulo(a, b, P) ^ multiplyModulo(a, c, P));
        expect(multiplyModulo(a, b, P)).toBe(multiplyModulo(b, a, P));
      }),
    );
  });

  test('the irreducible ones of small degree are the known ones', () => {
    const found = [...Array(32).keys()].map(BigInt).filter(isIrreducible);
    expect(found).toEqual([0b10n, 0b11n, 0b111n, 0b1011n, 0b1101n, 0b10011n, 0b11001n, 0b11111n]);
  });

  test('F-32 a random one is irreducible, of degree 53 and survives its spelling', () => {
    for (let i = 0; i < 3; i++) {
      const p = randomPolynomial();
      expect(degree(p)).toBe(53);
      expect(isIrreducible(p)).toBe(true);
      expect(parsePolynomial(formatPolynomial(p))).toBe(p);
    }
    expect(isIrreducible(multiplyModulo(0b111n, 0b1011n, 1n << 60n))).toBe(false);
  });
});

describe('the plain chunker', () => {
  test('cuts exactly where the fingerprint of the last 64 bytes says', () => {
    const bytes = noise(12_000);
    const lengths = chunkLengths(bytes, P, { min: 128, max: 1024, averageBits: 8 });
    const mask = (1n << 8n) - 1n;
    let start = 0;
    for (const length of lengths) {
      const end = start + length;
      for (let at = start + 128; at <= end; at++) {
        const isCut = (fingerprint(bytes.subarray(at - 64, at), P) & mask) === 0n;
        if (isCut !== (at === end && length < 1024) && at !== bytes.length && length < 1024) {
          throw new Error(`at ${at}: ${String(isCut)}`);
        }
      }
      start = end;
    }
    expect(start).toBe(bytes.length);
    expect(lengths.length).toBeGreaterThan(20);
  });

  test('finds its cuts again after an insertion', () => {
    const bytes = noise(300_000, 2);
    const limits = { min: 512, max: 8192, averageBits: 11 };
    const ends = (lengths: readonly number[]): number[] =>
      lengths.map(
        (
          (sum) => (length) =>
            (sum += length)
        )(0),
      );
    const before = new Set(ends(chunkLengths(bytes, P, limits)));
    const after = ends(chunkLengths(Buffer.concat([noise(1000, 3), bytes]), P, limits)).map(
      (end) => end - 1000,
    );
    expect(after.filter((end) => before.has(end)).length).toBeGreaterThan(0.9 * before.size);
  });

  test('has nothing to cut in nothing, and one chunk in what is short', () => {
    expect(chunkLengths(new Uint8Array(0), P)).toEqual([]);
    expect(chunkLengths(noise(MIN_CHUNK - 1), P)).toEqual([MIN_CHUNK - 1]);
    expect(chunkLengths(noise(100), P)).toEqual([100]);
  });

  test("F-31 keeps restic's bounds", () => {
    const zeros = chunkLengths(new Uint8Array(2 * MIN_CHUNK + 5), P);
    // A window of zeros has the fingerprint zero: a cut at the minimum.
    expect(zeros).toEqual([MIN_CHUNK, MIN_CHUNK, 5]);
    const bytes = noise(12 * 1024 * 1024, 4);
    const lengths = chunkLengths(bytes, P);
    for (const length of lengths.slice(0, -1)) {
      expect(length).toBeGreaterThanOrEqual(MIN_CHUNK);
      expect(length).toBeLessThanOrEqual(MAX_CHUNK);
    }
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(bytes.length);
    expect(() => chunkLengths(bytes, P, { min: 10 })).toThrow(RangeError);
    expect(() => chunkLengths(bytes, 0b1011n)).toThrow('degree 53');
  });
});
