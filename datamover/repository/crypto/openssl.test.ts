import { createCipheriv } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { noise } from '../testing/bytes.ts';
import { AesCtr, poly1305 } from './openssl.ts';
import { poly1305Plain } from './poly1305-plain.ts';

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const shared = Buffer.from(new SharedArrayBuffer(1 << 20));

describe('poly1305', () => {
  test('equals its plain twin for every length up to 600 bytes, also in shared memory', () => {
    const key = noise('key', 32);
    noise('message', 600).copy(shared);
    const wrong: number[] = [];
    for (let length = 0; length <= 600; length++) {
      const part = shared.subarray(0, length);
      if (toHex(poly1305(part, key)) !== toHex(poly1305Plain(part, key))) wrong.push(length);
    }
    expect(wrong).toEqual([]);
  });

  // Runs of ff and 00 are where carries go wrong.
  test.each([
    ['all bits of the message and the key set', Buffer.alloc(70_003, 255), Buffer.alloc(32, 255)],
    ['noise under the largest r', noise('long', 65_536), Buffer.alloc(32, 255)],
    ['zeros', Buffer.alloc(50_000), noise('key', 32)],
    ['all bits of the message set', Buffer.alloc(49_999, 255), noise('key', 32)],
    ['noise', noise('long', 100_001), noise('other key', 32)],
  ])('equals its plain twin: %s', (_, message, key) => {
    expect(toHex(poly1305(message, key))).toBe(toHex(poly1305Plain(message, key)));
  });
});

describe('AesCtr', () => {
  const key = noise('aes key', 32);

  test('gives the key stream of node:crypto, in any pieces, in place and back', () => {
    const cipher = new AesCtr(key);
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.array(fc.nat(200_000), { maxLength: 5 }),
        fc.boolean(),
        (nonce, lengths, inPlace) => {
          const total = lengths.reduce((sum, length) => sum + length, 0);
          const plain = noise(total, total);
          const expected = createCipheriv('aes-256-ctr', key, nonce).update(plain);
          const memory = Buffer.from(new SharedArrayBuffer(2 * total));
          plain.copy(memory);
          cipher.begin(nonce);
          let at = 0;
          for (const length of lengths) {
            const to = inPlace ? at : total + at;
            cipher.update(memory.subarray(at, at + length), memory.subarray(to, to + length));
            at += length;
          }
          const sealed = inPlace ? memory.subarray(0, total) : memory.subarray(total);
          expect(sealed.compare(expected)).toBe(0);
          cipher.begin(nonce);
          cipher.update(sealed, sealed);
          expect(sealed.compare(plain)).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('keeps two nonces of one key apart', () => {
    const [one, other] = [new AesCtr(key), new AesCtr(key)];
    const plain = noise('text', 100);
    const [a, b] = [Buffer.alloc(100), Buffer.alloc(100)];
    one.begin(noise('nonce 1', 16));
    other.begin(noise('nonce 2', 16));
    for (const [from, to] of [
      [0, 37],
      [37, 100],
    ] as const) {
      one.update(plain.subarray(from, to), a.subarray(from, to));
      other.update(plain.subarray(from, to), b.subarray(from, to));
    }
    expect(a.equals(createCipheriv('aes-256-ctr', key, noise('nonce 1', 16)).update(plain))).toBe(true);
    expect(b.equals(createCipheriv('aes-256-ctr', key, noise('nonce 2', 16)).update(plain))).toBe(true);
  });

  test('refuses keys, nonces and outputs that would let OpenSSL reach beyond them', () => {
    expect(() => new AesCtr(key.subarray(1))).toThrow('32 bytes');
    const cipher = new AesCtr(key);
    expect(() => cipher.begin(key.subarray(0, 15))).toThrow('16 bytes');
    cipher.begin(key.subarray(0, 16));
    expect(() => cipher.update(Buffer.alloc(9), Buffer.alloc(8))).toThrow('do not fit');
  });
});
