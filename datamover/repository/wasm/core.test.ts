import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fingerprint } from '../chunker-plain.ts';
import { randomPolynomial } from '../polynomial.ts';
import { noise } from '../testing/bytes.ts';
import { allocate, allocateAgain, instantiate, leave, RESERVED } from './core.ts';

const memory = allocate(1 << 20);
const core = instantiate(memory);
const bytes = Buffer.from(memory.buffer);

const MESSAGE = RESERVED + 1024;

describe('zeroPrefix', () => {
  test('knows whole blocks of 64 zero bytes up to the first other byte', () => {
    fc.assert(
      fc.property(fc.nat(700), fc.nat(700), fc.nat(63), (length, first, shift) => {
        const at = MESSAGE + shift;
        bytes.fill(255, MESSAGE, MESSAGE + 1000);
        bytes.fill(0, at, at + length);
        if (first < length) bytes[at + first] = 1;
        const zeros = Math.min(first, length);
        expect(core.zeroPrefix(at, length)).toBe(zeros & ~63);
      }),
    );
  });
});

describe('rabinFind', () => {
  const LENGTH = 50_000;

  /** The definition: the first place whose last 64 bytes have a fingerprint without a bit of the mask. */
  function find(text: Uint8Array, from: number, to: number, polynomial: bigint, mask: bigint): number {
    for (let at = from + 1; at <= to; at++) {
      if ((fingerprint(text.subarray(at - 64, at), polynomial) & mask) === 0n) return at;
    }
    return 0;
  }

  test('finds the cut that the definition finds, wherever a scan begins and ends', () => {
    const text = noise('text', LENGTH);
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: LENGTH - 1 }),
        fc.nat(2500),
        fc.constantFrom(5n, 8n, 10n),
        (from, length, bits) => {
          const polynomial = randomPolynomial();
          const mask = (1n << bits) - 1n;
          const to = Math.min(from + length, LENGTH);
          bytes.set(text, MESSAGE);
          core.rabinInit(polynomial);
          const found = core.rabinFind(MESSAGE + from, MESSAGE + to, mask) >>> 0;
          expect(found === 0 ? 0 : found - MESSAGE).toBe(find(text, from, to, polynomial, mask));
        },
      ),
      { numRuns: 25 },
    );
  });

  test('gives the first cut of all lanes, not the first that a lane meets', () => {
    // Long enough for three lanes side by side, a mask so wide that there is a cut or none.
    const polynomial = 0x3da3358b4dc173n;
    core.rabinInit(polynomial);
    for (let seed = 0; seed < 4; seed++) {
      const text = noise(`lanes ${seed}`, LENGTH);
      bytes.set(text, MESSAGE);
      const mask = (1n << 13n) - 1n;
      const found = core.rabinFind(MESSAGE + 64, MESSAGE + LENGTH, mask) >>> 0;
      expect(found === 0 ? 0 : found - MESSAGE).toBe(find(text, 64, LENGTH, polynomial, mask));
    }
  });
});

test('memory that a job has left goes to the next of the same size, once', () => {
  const left = allocateAgain(300_000);
  leave(left);
  expect(allocateAgain(100_000)).not.toBe(left);
  expect(allocateAgain(300_000)).toBe(left);
  expect(allocateAgain(300_000)).not.toBe(left);
});
