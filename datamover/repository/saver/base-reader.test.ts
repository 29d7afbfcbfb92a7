import { describe, expect, test } from '@jest/globals';
import { sealBlob } from '../blob.ts';
import { compress } from '../compression.ts';
import { seal } from '../crypto/cipher.ts';
import { FINGERPRINT_BYTES, Fingerprinter } from '../crypto/fingerprint.ts';
import { sha256, toBytes } from '../id.ts';
import { newMasterKey } from '../key-file.ts';
import { noise, prose } from '../testing/bytes.ts';
import { CELL_BYTES, SEALED_CELL_BYTES } from './arena.ts';
import { BaseCells, type BaseCell } from './base-cells.ts';
import { BaseReader, SpoiledBase } from './base-reader.ts';

type SealedCell = Extract<BaseCell, { form: 'sealed' }>;

const key = newMasterKey();
const fingerprinter = new Fingerprinter(key);
const unknown = Buffer.alloc(FINGERPRINT_BYTES);

/** A cell of the base as a pack has it, in its room. */
function sealedCell(
  plain: Buffer,
  sealed: { readonly bytes: Uint8Array; readonly uncompressedLength: number },
  fingerprint: Uint8Array = unknown,
): { cell: SealedCell; room: Buffer } {
  const room = Buffer.alloc(SEALED_CELL_BYTES);
  room.set(sealed.bytes);
  const { uncompressedLength } = sealed;
  const lengths = { length: plain.length, sealedLength: sealed.bytes.length, uncompressedLength };
  return { cell: { form: 'sealed', ...lengths, id: toBytes(sha256(plain)), fingerprint }, room };
}

function read({ cell, room }: { cell: BaseCell; room: Buffer }): Buffer {
  return new BaseReader(key).read(7, cell, room);
}

function spoiling({ cell, room }: { cell: BaseCell; room: Buffer }): unknown {
  try {
    read({ cell, room });
  } catch (error) {
    if (error instanceof SpoiledBase && error.cell === 7) return error.cause;
    throw error;
  }
  throw new Error('it was read');
}

const text = prose(1, CELL_BYTES);
const random = noise(2, CELL_BYTES);

describe('BaseReader', () => {
  test.each([
    ['compressed', text],
    ['plain', random],
    ['the last cell of an image', text.subarray(0, 4096)],
  ])('F-61 reads a blob that is %s, by its fingerprint or its name', (_, plain) => {
    const sealed = sealBlob(key, 'data', plain, 'auto');
    for (const fingerprint of [fingerprinter.of(plain), unknown, fingerprinter.of(random.subarray(1))])
      expect(read(sealedCell(plain, sealed, fingerprint)).equals(plain)).toBe(true);
  });

  test('reads what restic keeps compressed although it became longer', () => {
    const frame = compress(random, 2);
    expect(frame.length).toBeGreaterThan(random.length);
    const sealed = { bytes: seal(key, frame), uncompressedLength: random.length };
    expect(read(sealedCell(random, sealed)).equals(random)).toBe(true);
  });

  test('takes what is proved already as it is', () => {
    const room = Buffer.alloc(SEALED_CELL_BYTES);
    text.copy(room);
    expect(read({ cell: { form: 'plain', length: 5 }, room }).equals(text.subarray(0, 5))).toBe(true);
  });

  test('F-61 refuses another blob than the one that was named', () => {
    const other = sealBlob(key, 'data', noise(3, CELL_BYTES), 'auto');
    for (const fingerprint of [fingerprinter.of(random), unknown])
      expect(spoiling(sealedCell(random, other, fingerprint))).toMatchObject({
        message: 'the content does not have the SHA-256 that names it',
      });
  });

  test.each([
    ['compressed', text, /MAC does not fit/],
    ['plain', random, /SHA-256/],
  ])('F-61 refuses a changed bit of a blob that is %s', (_, plain, cause) => {
    const sealed = sealBlob(key, 'data', plain, 'auto');
    const spoiled = sealedCell(plain, sealed, fingerprinter.of(plain));
    spoiled.room.writeUInt8(spoiled.room.readUInt8(500) ^ 4, 500);
    expect(String(spoiling(spoiled))).toMatch(cause);
  });

  test('refuses a blob of another length than the cell', () => {
    const sealed = sealBlob(key, 'data', text, 'auto');
    const { cell, room } = sealedCell(text, sealed);
    expect(String(spoiling({ cell: { ...cell, length: 4096 }, room }))).toMatch(/instead of 4096/);
    const long = {
      bytes: seal(key, compress(Buffer.alloc(CELL_BYTES + 1), 2)),
      uncompressedLength: CELL_BYTES + 1,
    };
    expect(String(spoiling(sealedCell(text, long)))).toMatch(/where 1048576 were expected/);
  });
});

describe('BaseCells', () => {
  test('tells the thread that waits what the other one found', () => {
    const main = BaseCells.forSlabs(3);
    const thread = BaseCells.open(main.shared);
    const { cell } = sealedCell(text, sealBlob(key, 'data', text, 'auto'), fingerprinter.of(text));
    thread.ask(1);
    expect(thread.wait(1, () => true)).toBeUndefined();
    main.put(2, { form: 'plain', length: 9 });
    main.put(1, cell);
    const never = (): boolean => false;
    expect(thread.wait(1, never)).toEqual({
      ...cell,
      id: new Uint8Array(cell.id),
      fingerprint: new Uint8Array(cell.fingerprint),
    });
    expect(thread.wait(2, never)).toEqual({ form: 'plain', length: 9 });
  });
});
