import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { noise } from '../testing/bytes.ts';
import { hashesTwoAtOnce, hashTogether, Sha256 } from './sha256.ts';

const memory = Buffer.from(new SharedArrayBuffer(2 << 20));
noise('message', memory.length).copy(memory);
const expected = (...parts: readonly Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

describe('hashTogether', () => {
  test('gives every message the hash that node:crypto gives it, whatever their number and lengths', () => {
    const length = fc.oneof(
      fc.nat(300_000),
      fc.constantFrom(0, 1, 55, 56, 63, 64, 65, 4095, 4096, 131_072, 262_144, 1 << 20),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1 << 20), length), { maxLength: 6 }), (ranges) => {
        const jobs = ranges.map(([from, bytes]) => ({
          hash: new Sha256(),
          bytes: memory.subarray(from, from + bytes),
        }));
        hashTogether(jobs);
        expect(jobs.map(({ hash }) => hash.digest().toString('hex'))).toEqual(
          jobs.map(({ bytes }) => expected(bytes)),
        );
      }),
      { numRuns: 60 },
    );
  });

  test('goes on with hashes that have taken something before, a part of a block too', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(70_000), { maxLength: 4 }), fc.nat(70_000), (lengths, other) => {
        const [one, two] = [new Sha256(), new Sha256()];
        let at = 0;
        for (const length of lengths) {
          hashTogether([
            { hash: one, bytes: memory.subarray(at, at + length) },
            { hash: two, bytes: memory.subarray(0, other) },
          ]);
          at += length;
        }
        expect(one.digest().toString('hex')).toBe(expected(memory.subarray(0, at)));
        expect(two.digest().toString('hex')).toBe(expected(...lengths.map(() => memory.subarray(0, other))));
      }),
      { numRuns: 40 },
    );
  });

  test('counts beyond the 2^32 bits that one word of the length holds', () => {
    const [one, two] = [new Sha256(), new Sha256()];
    const reference = createHash('sha256');
    for (let i = 0; i < 270; i++) {
      hashTogether([
        { hash: one, bytes: memory },
        { hash: two, bytes: memory },
      ]);
      reference.update(memory);
    }
    const digest = reference.digest('hex');
    expect([one.digest().toString('hex'), two.digest().toString('hex')]).toEqual([digest, digest]);
  });

  test('is the same with one message after the other, as on other machines', () => {
    const one = new Sha256();
    for (const part of [memory.subarray(0, 100), memory.subarray(100, 100), memory.subarray(100, 9000)])
      one.update(part);
    expect(one.digest().toString('hex')).toBe(expected(memory.subarray(0, 9000)));
    expect(typeof hashesTwoAtOnce()).toBe('boolean');
  });
});
