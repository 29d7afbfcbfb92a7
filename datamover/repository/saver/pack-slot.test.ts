import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openBlob } from '../blob.ts';
import { open } from '../crypto/cipher.ts';
import { sha256 } from '../id.ts';
import { newMasterKey } from '../key-file.ts';
import { decodePackHeader, headerRange, TAIL_LENGTH } from '../pack-header.ts';
import { noise } from '../testing/bytes.ts';
import { HEADER_ROOM, layoutArena, PACK_BYTES, type Arena } from './arena.ts';
import { PackSlot } from './pack-slot.ts';

const key = newMasterKey();

function openSlot(input: 'cells' | 'content' = 'cells'): { arena: Arena; pack: PackSlot; bytes: Buffer } {
  const arena = layoutArena({ workers: 1, packSlots: 2, input });
  const pack = new PackSlot(arena, key);
  pack.open(1, arena.packs[1] ?? 0);
  return { arena, pack, bytes: Buffer.from(arena.memory.buffer) };
}

describe('PackSlot', () => {
  test('makes packs that the plain reader opens: name, header, every blob', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 1, maxLength: 8 }),
        (lengths) => {
          const { arena, pack, bytes } = openSlot();
          const blobs = lengths.map((length, i) => noise(`${i} ${length}`, length));
          for (const blob of blobs) pack.add(sha256(blob), blob, 0);
          const finished = pack.finish();
          const file = bytes.subarray(arena.packs[1] ?? 0, (arena.packs[1] ?? 0) + finished.length);
          expect(sha256(file)).toBe(finished.id);
          expect(finished.slot).toBe(1);

          const { offset, length } = headerRange(file, file.length, 'pack');
          expect(offset + length + TAIL_LENGTH).toBe(file.length);
          const header = decodePackHeader(open(key, file.subarray(offset, offset + length)), offset, 'pack');
          expect(header).toEqual(finished.blobs);
          header.forEach((entry, i) => {
            const sealed = file.subarray(entry.offset, entry.offset + entry.length);
            // Twice: openBlob leaves the MAC of plain data blobs to the SHA-256.
            expect(Buffer.compare(open(key, sealed), blobs[i] ?? Buffer.alloc(0))).toBe(0);
            expect(openBlob(key, entry, sealed, 'blob').length).toBe(blobs[i]?.length);
          });
        },
      ),
      { numRuns: 25 },
    );
  });

  test('never repeats a nonce', () => {
    const { arena, pack, bytes } = openSlot();
    const count = 1000;
    for (let i = 0; i < count; i++) pack.add(sha256(Buffer.from([i])), Buffer.from([i]), 0);
    const { blobs } = pack.finish();
    const at = arena.packs[1] ?? 0;
    const nonces = blobs.map(({ offset }) => bytes.toString('hex', at + offset, at + offset + 16));
    expect(new Set(nonces).size).toBe(count);
  });

  test('is full at 16 MiB, and its largest blob and header still fit', () => {
    const { arena, pack } = openSlot('content');
    const blob = noise('large', 8 << 20);
    pack.add(sha256(blob), blob, 0);
    pack.add(sha256(blob.subarray(1)), blob.subarray(1 << 10), 0);
    expect(pack.isFull).toBe(false);
    pack.add(sha256(blob), blob, 0);
    expect(pack.isFull).toBe(true);
    const { length } = pack.finish();
    expect(length).toBeGreaterThan(PACK_BYTES);
    expect(length).toBeLessThanOrEqual(arena.packBytes);
  });

  test('is full before the entries of very small blobs outgrow the room for the header', () => {
    const { arena, pack } = openSlot();
    const id = sha256(Buffer.alloc(1));
    let count = 0;
    while (!pack.isFull) {
      pack.add(id, Buffer.alloc(1), 7);
      count++;
    }
    const { length } = pack.finish();
    expect(41 * count).toBeLessThanOrEqual(HEADER_ROOM);
    expect(length).toBeLessThanOrEqual(arena.packBytes);
  });
});

describe('layoutArena', () => {
  test('gives every part a place of its own', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 7 }),
        fc.constantFrom<'cells' | 'content' | 'fed'>('cells', 'content', 'fed'),
        (workers, packSlots, input) => {
          const arena = layoutArena({ workers, packSlots, input });
          const parts = [
            ...arena.cells.map((at) => ({ at, length: 1 << 20 })),
            ...arena.slabs.map((at) => ({ at, length: arena.slabBytes })),
            ...arena.packs.map((at) => ({ at, length: arena.packBytes })),
            ...(input === 'fed' ? [{ at: arena.input, length: arena.inputBytes }] : []),
          ].sort((a, b) => a.at - b.at);
          parts.forEach(({ at, length }, i) => {
            expect(at % 64).toBe(0);
            expect(at + length).toBeLessThanOrEqual(parts[i + 1]?.at ?? arena.memory.buffer.byteLength);
          });
          expect(arena.packs.length).toBe(packSlots);
          expect(input === 'cells' ? arena.cells.length : arena.slabs.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 20 },
    );
  });
});
