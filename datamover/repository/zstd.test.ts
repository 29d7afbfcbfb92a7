import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Compressor, compressBound, decompressesTo, decompressInto } from './compression.ts';
import { noise } from './testing/bytes.ts';
import { nativeZstd } from './zstd.ts';

const text = (bytes: number): Buffer =>
  Buffer.from('the quick brown fox jumps over the lazy dog; '.repeat(Math.ceil(bytes / 45))).subarray(
    0,
    bytes,
  );

const inputs = fc
  .tuple(fc.constantFrom('text', 'noise', 'zeros'), fc.nat(700_000))
  .map(([kind, bytes]) =>
    kind === 'text' ? text(bytes) : kind === 'noise' ? noise(bytes, bytes) : Buffer.alloc(bytes),
  );

describe('zstd in place', () => {
  test('makes frames that node:zlib reads, whatever came before them', () => {
    const compressor = new Compressor(1 << 20);
    fc.assert(
      fc.property(fc.array(inputs, { maxLength: 4 }), fc.constantFrom(1, 2, 9), (all, level) => {
        for (const bytes of all) {
          const frame = compressor.compress(bytes, level);
          expect(frame.length).toBeLessThanOrEqual(compressBound(bytes.length));
          expect(zstdDecompressSync(frame).equals(bytes)).toBe(true);
          const again = Buffer.alloc(bytes.length);
          decompressInto(frame, 'blob', again);
          expect(again.equals(bytes)).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });

  test('reads the frames of node:zlib, also those that do not declare their length', () => {
    const plain = Buffer.concat([text(300_000), noise('tail', 50_000)]);
    for (const frame of [
      zstdCompressSync(plain),
      zstdCompressSync(plain, { pledgedSrcSize: plain.length }),
    ]) {
      const again = Buffer.alloc(plain.length);
      decompressInto(frame, 'blob', again);
      expect(again.equals(plain)).toBe(true);
    }
  });

  test.each([
    ['a frame that is cut off', (frame: Buffer) => frame.subarray(0, frame.length - 5), 100_000],
    ['a frame with another length', (frame: Buffer) => frame, 100_001],
    ['a frame that has no room', (frame: Buffer) => frame, 99_999],
    ['what is no frame', () => noise('junk', 1000), 100_000],
    ['nothing', () => Buffer.alloc(0), 100_000],
  ])('refuses %s and writes nowhere but into its room', (_, damage, room) => {
    const memory = Buffer.alloc(room + 64, 7);
    const frame = new Compressor(1 << 20).compress(text(100_000), 2);
    expect(() => decompressInto(damage(frame), 'blob 1234', memory.subarray(0, room))).toThrow('blob 1234');
    expect(memory.subarray(room).equals(Buffer.alloc(64, 7))).toBe(true);
  });

  describe.each([
    ['whole', 1_000_000],
    ['piece by piece', 5_000_000],
  ])('compared %s', (_, bytes) => {
    const plain = Buffer.concat([text(bytes - 400_000), noise('tail', 400_000)]);
    const frame = Buffer.from(new Compressor(1 << 20).compress(plain, 2));

    test('a frame is what it was made of, as often as one asks', () => {
      for (let i = 0; i < 3; i++) expect(decompressesTo(frame, 'blob', plain)).toBe(true);
    });

    test.each([0, bytes >>> 1, bytes - 1])('one other byte at %d is found', (at) => {
      const other = Buffer.from(plain);
      other[at] = (other[at] ?? 0) ^ 1;
      expect(decompressesTo(frame, 'blob', other)).toBe(false);
      expect(decompressesTo(frame, 'blob', plain)).toBe(true);
    });

    test('a shorter or longer one, a cut frame and one with more behind it are none of it', () => {
      const answers = (of: Buffer, as: Buffer): boolean => {
        try {
          return decompressesTo(of, 'blob', as);
        } catch {
          return false;
        }
      };
      expect(answers(frame, plain.subarray(0, -1))).toBe(false);
      expect(answers(frame, Buffer.concat([plain, Buffer.alloc(1)]))).toBe(false);
      expect(answers(frame.subarray(0, -9), plain)).toBe(false);
      expect(answers(Buffer.concat([frame, frame]), plain)).toBe(false);
      expect(answers(frame, plain)).toBe(true);
    });
  });

  test('is there in the Node that package.json pins', () => {
    expect(nativeZstd()).toBeDefined();
  });
});
