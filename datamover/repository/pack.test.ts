import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openBlob, sealBlob } from './blob.ts';
import { open, seal, SEAL_OVERHEAD } from './crypto/cipher.ts';
import { sha256 } from './id.ts';
import { newMasterKey } from './key-file.ts';
import {
  decodePackHeader,
  encodePackHeader,
  headerRange,
  MIN_PACK_LENGTH,
  packLength,
  TAIL_LENGTH,
} from './pack-header.ts';
import { PACK_SIZE, PackBuilder, Packer, type FinishedPack } from './packer.ts';
import type { BlobType, PackedBlob } from './types.ts';

const key = newMasterKey();

/** Blobs that lie one after the other, of any types and lengths. */
const layouts = fc
  .array(
    fc.record({
      id: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((id) => Buffer.from(id).toString('hex')),
      type: fc.constantFrom<BlobType>('data', 'tree'),
      length: fc.integer({ min: SEAL_OVERHEAD, max: 2 ** 24 }),
      uncompressedLength: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 32 - 1 })),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((blobs) => {
    let offset = 0;
    return blobs.map((blob): PackedBlob => ({ ...blob, offset: (offset += blob.length) - blob.length }));
  });

const total = (blobs: readonly PackedBlob[]): number => blobs.reduce((sum, blob) => sum + blob.length, 0);

describe('pack headers', () => {
  test('F-10 come back for any blobs, and give the size of the pack', () => {
    fc.assert(
      fc.property(layouts, (blobs) => {
        const header = encodePackHeader(blobs);
        expect(decodePackHeader(header, total(blobs), 'pack')).toEqual(blobs);
        expect(packLength(blobs)).toBe(total(blobs) + header.length + SEAL_OVERHEAD + TAIL_LENGTH);
      }),
    );
  });

  test("F-10 have the entries of restic's design document", () => {
    const id = 'ab'.repeat(32);
    const blobs: PackedBlob[] = [
      { id, type: 'data', offset: 0, length: 0x120, uncompressedLength: 0 },
      { id, type: 'tree', offset: 0x120, length: 0x40, uncompressedLength: 0x1234 },
    ];
    expect(Buffer.from(encodePackHeader(blobs)).toString('hex')).toBe(
      `0020010000${id}034000000034120000${id}`,
    );
  });

  test.each([4, 5, 128, 255])('F-12 blob type %i is refused', (kind) => {
    const header = encodePackHeader([
      { id: 'ab'.repeat(32), type: 'data', offset: 0, length: 50, uncompressedLength: 0 },
    ]);
    header[0] = kind;
    expect(() => decodePackHeader(header, 50, 'pack 12345678')).toThrow(
      `read pack 12345678: blob type ${kind} in the pack header is unknown`,
    );
  });

  test('F-10 a header that does not fill the pack exactly is refused', () => {
    const header = encodePackHeader([
      { id: 'ab'.repeat(32), type: 'tree', offset: 0, length: 50, uncompressedLength: 9 },
    ]);
    expect(() => decodePackHeader(header, 51, 'pack')).toThrow(
      'describes 50 bytes of blobs, the pack has 51',
    );
    expect(() => decodePackHeader(header.subarray(0, -1), 50, 'pack')).toThrow('ends within an entry');
    header.fill(0, 1, 5);
    expect(() => decodePackHeader(header, 0, 'pack')).toThrow('a blob of 0 bytes');
    header.set([50, 0, 0, 0, 0, 0, 0, 0], 1);
    expect(() => decodePackHeader(header, 50, 'pack')).toThrow('a compressed blob without a length');
  });

  test('F-33 any bytes in the place of a header are read or refused, never read beyond', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(10_000), (header, length) => {
        try {
          expect(total(decodePackHeader(header, length, 'pack'))).toBe(length);
        } catch (error) {
          expect(String(error)).toContain('read pack: ');
        }
      }),
    );
  });

  test('F-33 a length field that points outside of the pack is refused', () => {
    const tail = (length: number): Uint8Array => Buffer.from(Uint32Array.of(length).buffer);
    expect(headerRange(tail(69), MIN_PACK_LENGTH, 'pack')).toEqual({ offset: 32, length: 69 });
    for (const length of [0, 68, 1000, 0xffffffff]) {
      expect(() => headerRange(tail(length), 500, 'pack')).toThrow('does not fit a pack of 500 bytes');
    }
    expect(() => headerRange(tail(69), MIN_PACK_LENGTH - 1, 'pack')).toThrow('too few for a pack');
    expect(() => headerRange(new Uint8Array(3), 500, 'pack')).toThrow('too few for a pack');
  });

  test('is not written for blobs with gaps', () => {
    const blob: PackedBlob = {
      id: 'ab'.repeat(32),
      type: 'data',
      offset: 1,
      length: 50,
      uncompressedLength: 0,
    };
    expect(() => encodePackHeader([blob])).toThrow('expected 0');
  });
});

describe('blobs', () => {
  const subject = 'data blob 12345678 in pack 87654321';

  test('F-17 come back, compressed or plain, of any type', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2000 }),
        fc.constantFrom<BlobType>('data', 'tree'),
        fc.constantFrom('off', 'auto', 'max', undefined),
        (plain, type, compression) => {
          const { bytes, uncompressedLength } = sealBlob(key, type, plain, compression);
          const blob = { id: sha256(plain), type, uncompressedLength };
          expect(Buffer.from(openBlob(key, blob, bytes, subject)).equals(plain)).toBe(true);
        },
      ),
    );
  });

  test('F-13 are never compressed without a word for it, as in version 1; with `off` trees still are', () => {
    const zeros = new Uint8Array(5000);
    expect(sealBlob(key, 'tree', zeros, undefined).uncompressedLength).toBe(0);
    expect(sealBlob(key, 'data', zeros, 'off').uncompressedLength).toBe(0);
    expect(sealBlob(key, 'tree', zeros, 'off').uncompressedLength).toBe(5000);
    expect(sealBlob(key, 'data', zeros, 'auto').uncompressedLength).toBe(5000);
  });

  test('F-02 of compressed blobs and trees the MAC is checked before zstd or a parser sees a byte', () => {
    const plain = Buffer.from('{"nodes":[]}');
    for (const [type, compression] of [
      ['tree', undefined],
      ['data', 'auto'],
    ] as const) {
      const content = type === 'tree' ? plain : new Uint8Array(5000);
      const { bytes, uncompressedLength } = sealBlob(key, type, content, compression);
      bytes[20] = (bytes[20] ?? 0) ^ 1;
      const blob = { id: sha256(content), type, uncompressedLength };
      expect(() => openBlob(key, blob, bytes, subject)).toThrow('message authentication code does not match');
    }
  });

  test('F-18 are opened again before they are stored: what this machine gets wrong is found', () => {
    let reads = 0;
    // A bit of the key that is another one from the second look on, as bad memory would have it.
    const failing = {
      ...key,
      get encrypt() {
        return reads++ === 0 ? key.encrypt : key.encrypt.with(0, (key.encrypt[0] ?? 0) ^ 1);
      },
    };
    expect(() => sealBlob(failing, 'data', Buffer.from('plain'))).toThrow(
      /^store blob: it did not come back/,
    );
    expect(reads).toBe(2);
  });

  test('F-17 a blob with another content than its id says is refused, however well it is sealed', () => {
    const { bytes } = sealBlob(key, 'data', Buffer.from('right'));
    const blob = { id: sha256(Buffer.from('wrong')), type: 'data' as const, uncompressedLength: 0 };
    expect(() => openBlob(key, blob, bytes, subject)).toThrow(
      /^read data blob 12345678 in pack 87654321: .*SHA-256/,
    );
    expect(() => openBlob(key, blob, bytes.subarray(0, 20), subject)).toThrow('message authentication code');
  });
});

describe('the packer', () => {
  async function pack(
    blobs: readonly (readonly [BlobType, Uint8Array])[],
    uploads = 2,
  ): Promise<FinishedPack[]> {
    const packs: FinishedPack[] = [];
    const packer = new Packer({ key, uploads, store: async (finished) => void packs.push(finished) });
    for (const [type, plain] of blobs) await packer.add(type, sha256(plain), sealBlob(key, type, plain));
    await packer.flush();
    return packs;
  }

  test('F-10 F-11 packs can be read by their own bytes, data and trees never share one', async () => {
    const blobs = Array.from(
      { length: 50 },
      (_, i) => [i % 3 === 0 ? 'tree' : 'data', randomBytes(100 + i)] as const,
    );
    const packs = await pack(blobs);
    expect(packs.length).toBe(2);
    const seen = new Map<string, Uint8Array>();
    for (const {
      pack: { id, blobs: listed },
      bytes,
    } of packs) {
      expect(sha256(bytes)).toBe(id);
      const { offset, length } = headerRange(bytes.subarray(-TAIL_LENGTH), bytes.length, 'pack');
      const decoded = decodePackHeader(open(key, bytes.subarray(offset, offset + length)), offset, 'pack');
      expect(decoded).toEqual(listed);
      expect(new Set(decoded.map((blob) => blob.type)).size).toBe(1);
      for (const blob of decoded) {
        seen.set(
          blob.id,
          openBlob(key, blob, bytes.subarray(blob.offset, blob.offset + blob.length), 'blob'),
        );
      }
    }
    for (const [, plain] of blobs)
      expect(Buffer.from(seen.get(sha256(plain)) ?? []).equals(plain)).toBe(true);
  });

  test('closes a pack at 16 MiB', async () => {
    const packs = await pack(
      Array.from({ length: 35 }, (_, i) => ['data', new Uint8Array(1024 * 1024).fill(i)] as const),
    );
    expect(packs.length).toBe(3);
    for (const { bytes } of packs.slice(0, 2)) expect(bytes.length).toBeGreaterThanOrEqual(PACK_SIZE);
    for (const { bytes } of packs) expect(bytes.length).toBeLessThan(PACK_SIZE + 1024 * 1024 + 4096);
  });

  test('tells of an upload that failed, at the next blob and at the end', async () => {
    const packer = new Packer({ key, uploads: 1, store: () => Promise.reject(new Error('disk full')) });
    await packer.add('tree', sha256(Buffer.from('x')), sealBlob(key, 'tree', Buffer.from('x')));
    await expect(packer.flush()).rejects.toThrow('disk full');
    await expect(
      packer.add('tree', 'ab'.repeat(32), sealBlob(key, 'tree', Buffer.from('y'))),
    ).rejects.toThrow('disk full');
    await expect(packer.flush()).rejects.toThrow('disk full');
    await packer.abandon();
  });

  test('knows when a pack is empty', () => {
    const builder = new PackBuilder();
    expect(builder.isEmpty).toBe(true);
    builder.add('data', 'ab'.repeat(32), { bytes: seal(key, Buffer.from('a')), uncompressedLength: 0 });
    expect([builder.isEmpty, builder.isFull]).toEqual([false, false]);
    expect(builder.finish(key).bytes.length).toBe(MIN_PACK_LENGTH + 1);
  });
});
