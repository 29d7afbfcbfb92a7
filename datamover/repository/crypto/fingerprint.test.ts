import { createCipheriv, createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { noise } from '../testing/bytes.ts';
import { Fingerprinter } from './fingerprint.ts';
import { splitKey } from './kdf.ts';

const key = splitKey(Buffer.from(Array.from({ length: 64 }, (_, i) => i)));

/** GHASH and its mask, bit by bit, as NIST SP 800-38D writes them: `h` is AES of zeros, `mask` AES of the counter's first block. */
function gmac(message: Uint8Array, h: bigint, mask: bigint): Buffer {
  const blocks = Buffer.alloc(Math.ceil(message.length / 16) * 16 + 16);
  blocks.set(message);
  blocks.writeBigUInt64BE(BigInt(message.length) * 8n, blocks.length - 16);
  let y = 0n;
  for (let at = 0; at < blocks.length; at += 16) y = times(y ^ word(blocks, at), h);
  return Buffer.from((y ^ mask).toString(16).padStart(32, '0'), 'hex');
}

function word(bytes: Buffer, at: number): bigint {
  return (bytes.readBigUInt64BE(at) << 64n) | bytes.readBigUInt64BE(at + 8);
}

function times(x: bigint, y: bigint): bigint {
  let product = 0n;
  let v = y;
  for (let bit = 127n; bit >= 0n; bit--) {
    if ((x >> bit) & 1n) product ^= v;
    v = v & 1n ? (v >> 1n) ^ (0xe1n << 120n) : v >> 1n;
  }
  return product;
}

/** RFC 5869 for two blocks of output and no salt. */
function hkdf(secret: Uint8Array, info: string): [Buffer, Buffer] {
  const extracted = createHmac('sha256', Buffer.alloc(32)).update(secret).digest();
  const first = createHmac('sha256', extracted).update(info).update(Buffer.of(1)).digest();
  return [first, createHmac('sha256', extracted).update(first).update(info).update(Buffer.of(2)).digest()];
}

function aes(key: Buffer, block: Buffer): Buffer {
  return createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(block);
}

describe('F-54 fingerprints', () => {
  test('are enciphered GMAC under a key made of the whole master key', () => {
    const [tagKey, outer] = hkdf(Buffer.concat([key.encrypt, key.macK, key.macR]), 'datamover fingerprint 1');
    const first = Buffer.alloc(16);
    first[15] = 1;
    const [h, mask] = [word(aes(tagKey, Buffer.alloc(16)), 0), word(aes(tagKey, first), 0)];
    const fingerprints = new Fingerprinter(key);
    for (const length of [0, 1, 15, 16, 17, 4096, 10_007]) {
      const message = noise('message', length);
      expect(fingerprints.of(message)).toEqual(aes(outer, gmac(message, h, mask)));
    }
  });

  test('differ for every flipped bit, every cut and every key', () => {
    const fingerprints = new Fingerprinter(key);
    const message = noise('message', 5000);
    const seen = new Set([fingerprints.of(message).toString('hex')]);
    for (let bit = 0; bit < 5000 * 8; bit += 37) {
      message[bit >>> 3] = (message[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      seen.add(fingerprints.of(message).toString('hex'));
      message[bit >>> 3] = (message[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    }
    seen.add(fingerprints.of(message.subarray(0, 4999)).toString('hex'));
    seen.add(fingerprints.of(Buffer.concat([message, Buffer.of(0)])).toString('hex'));
    for (const part of ['encrypt', 'macK', 'macR'] as const) {
      const other = { ...key, [part]: Uint8Array.from(key[part], (byte, i) => (i === 1 ? byte ^ 4 : byte)) };
      seen.add(new Fingerprinter(other).of(message).toString('hex'));
    }
    expect(seen.size).toBe(1 + Math.ceil((5000 * 8) / 37) + 2 + 3);
  });

  test('memory that threads share is read where it lies', () => {
    const shared = Buffer.from(new SharedArrayBuffer(100));
    shared.set(noise('message', 100));
    const fingerprints = new Fingerprinter(key);
    expect(fingerprints.of(shared.subarray(3, 70))).toEqual(
      fingerprints.of(Uint8Array.from(shared.subarray(3, 70))),
    );
  });
});
