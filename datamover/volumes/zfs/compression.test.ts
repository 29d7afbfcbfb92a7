import { describe, expect, test } from '@jest/globals';
import { constants, deflateSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { decompressBlock } from './compression.ts';
import { encodeLz4, encodeLzjb, encodeZle } from './testing/compressors.ts';

/** Blocks with runs, repeats and noise, as compressors meet them. */
const block = fc
  .array(
    fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 90 }),
      fc
        .tuple(fc.nat(255), fc.integer({ min: 1, max: 600 }))
        .map(([byte, n]) => new Uint8Array(n).fill(byte)),
      fc.constant(Buffer.from('a phrase that comes again and again ')),
    ),
    { minLength: 1, maxLength: 25 },
  )
  .map((parts) => Buffer.concat(parts));

function zstd(bytes: Uint8Array): Buffer {
  const frame = zstdCompressSync(bytes, { params: { [constants.ZSTD_c_contentSizeFlag]: 0 } }).subarray(4);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(frame.length);
  header.writeUInt32BE((10_405 << 8) | 3, 4);
  return Buffer.concat([header, frame]);
}

const kinds: readonly [string, number, (bytes: Uint8Array) => Uint8Array][] = [
  ['none', 2, (bytes) => bytes],
  ['lzjb', 3, encodeLzjb],
  ['gzip-1', 5, (bytes) => deflateSync(bytes, { level: 1 })],
  ['gzip-9', 13, (bytes) => deflateSync(bytes, { level: 9 })],
  ['zle', 14, encodeZle],
  ['lz4', 15, encodeLz4],
  ['zstd', 16, zstd],
];

describe.each(kinds)('%s', (_, kind, encode) => {
  test('gives the block back, whatever pads the stored form', () => {
    fc.assert(
      fc.property(block, fc.nat(511), (bytes, padding) => {
        const stored = Buffer.concat([encode(bytes), Buffer.alloc(padding)]);
        const output = new Uint8Array(bytes.length);
        decompressBlock(kind, stored, output);
        expect(Buffer.compare(output, bytes)).toBe(0);
      }),
    );
  });

  test('refuses data that are cut off', () => {
    fc.assert(
      fc.property(block, fc.nat(), (bytes, cut) => {
        const stored = encode(bytes);
        const part = stored.subarray(0, cut % stored.length);
        // zlib's checksum at the end may be all that is missing; then the block is whole.
        const output = new Uint8Array(bytes.length);
        expect(() => decompressBlock(kind, part, output)).toThrow(/do not unpack|cut off|shorter/);
      }),
    );
  });

  test('never writes beyond the block and never answers with another error, whatever it is given', () => {
    fc.assert(
      fc.property(block, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (bytes, wrong) => {
        const stored = Buffer.from(encode(bytes));
        for (const [at, byte] of wrong) stored[at % stored.length] = byte;
        const room = new Uint8Array(bytes.length + 64).fill(0xa5);
        let message = 'do not unpack';
        try {
          decompressBlock(kind, stored, room.subarray(0, bytes.length));
        } catch (error) {
          message = String(error);
        }
        expect(message).toMatch(/do not unpack|cut off/);
        expect(room.subarray(bytes.length).every((byte) => byte === 0xa5)).toBe(true);
      }),
    );
  });
});

describe('decompressBlock', () => {
  test.each([1, 4, 17, 200])('refuses compression %i by its number', (kind) => {
    expect(() => decompressBlock(kind, new Uint8Array(512), new Uint8Array(512))).toThrow(
      `a block is packed with compression ${kind}, which is unknown to this version`,
    );
  });

  test.each([
    ['lz4', 15],
    ['gzip', 5],
    ['zstd', 16],
  ])('a block of another length than announced is refused (%s)', (_, kind) => {
    const encode = kinds.find(([, number]) => number === kind)?.[2];
    const stored = encode?.(Buffer.alloc(1000, 'abc')) ?? Buffer.alloc(0);
    for (const length of [999, 1001]) {
      expect(() => decompressBlock(kind, stored, new Uint8Array(length))).toThrow(/do not unpack/);
    }
  });
});
