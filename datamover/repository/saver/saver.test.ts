import { describe, expect, test } from '@jest/globals';
import { closeSync, constants, openSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scratchDirectory } from '../../../e2e/servers/scratch.ts';
import { DatamoverError } from '../../errors.ts';
import { Fingerprinter } from '../crypto/fingerprint.ts';
import { fromBytes, sha256 } from '../id.ts';
import { newMasterKey } from '../key-file.ts';
import { MemoryIndex } from '../memory-index.ts';
import { noise } from '../testing/bytes.ts';
import {
  CELL_BYTES,
  KnownCells,
  saveCells,
  saveImageStream,
  saveStream,
  type PackSink,
  type SaveOptions,
} from './saver.ts';

async function inScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await scratchDirectory('saver');
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('saveCells', () => {
  test('a stop while nothing but an upload is left ends the upload', async () => {
    const folder = await scratchDirectory('saver');
    try {
      const path = join(folder, 'image');
      await writeFile(path, noise(1, CELL_BYTES));
      const fd = openSync(path, 'r');
      const stop = new AbortController();
      let uploads = 0;
      const sink: PackSink = {
        key: newMasterKey(),
        polynomial: '',
        uploads: 1,
        shareIndex: () => new MemoryIndex().share(),
        // A store that does not answer.
        storePack: (_pack, _content, signal) => {
          uploads++;
          // Soon after it the threads are gone: they have nothing more to do.
          setTimeout(() => stop.abort(), 1500);
          return new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () =>
              reject(new DatamoverError({ operation: 'save', cause: 'stopped' })),
            );
          });
        },
      };
      const image = { fd, imageBytes: CELL_BYTES, runs: [{ first: 0, count: 1 }] };
      const { finished } = saveCells(sink, image, {
        level: undefined,
        signal: stop.signal,
        onBlobs: () => undefined,
      });
      await expect(finished).rejects.toMatchObject({ kind: 'cancelled', operation: 'back up' });
      expect(uploads).toBe(1);
      closeSync(fd);
    } finally {
      await rm(folder, { recursive: true });
    }
  }, 60_000);
});

describe('F-54 cells that an earlier backup had', () => {
  const key = newMasterKey();
  const fingerprints = new Fingerprinter(key);
  const cells = Array.from({ length: 5 }, (_, i) => noise(`cell ${i}`, i === 4 ? 1000 : CELL_BYTES));
  /** Ids that no hash gives: whoever reports them has not hashed. */
  const marks = cells.map((_, i) => Buffer.alloc(32, 0x11 * (i + 1)));

  /** The ids that a save reports for the cells, where all of `live` are in the index. */
  async function save(known: KnownCells, live: readonly Buffer[], way: 'file' | 'pipe'): Promise<string[]> {
    return inScratch(async (folder) => {
      const path = join(folder, 'image');
      await writeFile(path, Buffer.concat(cells));
      const index = new MemoryIndex();
      const blobs = live.map((id, i) => ({
        id: fromBytes(id),
        type: 'data' as const,
        offset: i * 100,
        length: 100,
      }));
      index.addPack({
        id: sha256(Buffer.of(1)),
        blobs: blobs.map((blob) => ({ ...blob, uncompressedLength: 0 })),
      });
      const sink: PackSink = {
        ...{ key, polynomial: '', uploads: 1 },
        shareIndex: () => index.share(),
        storePack: async () => undefined,
      };
      const ids: string[] = [];
      const options: SaveOptions = {
        level: undefined,
        onBlobs: (batch) =>
          batch.places.forEach((place, i) => {
            ids[place] = fromBytes(batch.ids.subarray(i * 32, i * 32 + 32));
            const own = batch.fingerprints.subarray(i * 16, i * 16 + 16);
            expect(fingerprints.of(cells[place] ?? Buffer.of()).equals(own)).toBe(true);
          }),
      };
      const fd = openSync(path, 'r');
      const image = { fd, imageBytes: 4 * CELL_BYTES + 1000, runs: [{ first: 0, count: 5 }] };
      const saving =
        way === 'file'
          ? saveCells(sink, image, options, known)
          : saveImageStream(sink, { kind: 'fd', fd }, options, known);
      await saving.finished;
      closeSync(fd);
      return ids;
    });
  }

  const hashed = cells.map((cell) => sha256(cell));

  test.each(['file', 'pipe'] as const)('are told by their fingerprints alone, from a %s', async (way) => {
    const known = KnownCells.create(2);
    const prints = cells.map((cell) => fingerprints.of(cell));
    // The first span: as it is, and a blob that is not in the index any more.
    known.put(0, { ids: Buffer.concat(marks.slice(0, 2)), fingerprints: Buffer.concat(prints.slice(0, 2)) });
    // The second: another fingerprint, and none. The third: a short cell.
    known.put(1, {
      ids: Buffer.concat(marks.slice(2, 4)),
      fingerprints: Buffer.concat([prints[3] ?? Buffer.of()]),
    });
    known.put(2, { ids: marks[4] ?? Buffer.of(), fingerprints: prints[4] ?? Buffer.of() });
    const live = marks.filter((_, i) => i !== 1);
    expect(await save(known, live, way)).toEqual([
      fromBytes(marks[0] ?? Buffer.of()),
      ...hashed.slice(1, 4),
      fromBytes(marks[4] ?? Buffer.of()),
    ]);
  });

  test('a span that is not there, or no more, is hashed', async () => {
    const known = KnownCells.create(2);
    const span = {
      ids: Buffer.concat(marks.slice(0, 2)),
      fingerprints: fingerprints.of(cells[0] ?? Buffer.of()),
    };
    expect(await save(known, marks, 'file')).toEqual(hashed);
    known.put(0, span);
    known.drop(0);
    expect(await save(known, marks, 'file')).toEqual(hashed);
  });

  test('there is room for some spans, and for another one when one is dropped', () => {
    const known = KnownCells.create(2);
    const span = { ids: Buffer.alloc(64, 1), fingerprints: Buffer.alloc(32, 2) };
    const print = Buffer.alloc(16, 2);
    let spans = 0;
    for (; known.hasRoom; spans++) known.put(spans, span);
    expect(() => known.put(spans, span)).toThrow(RangeError);
    const other = KnownCells.open(known.shared);
    expect(other.find(1, print)).toEqual(Buffer.alloc(32, 1));
    expect(other.find(2 * spans, print)).toBeUndefined();
    known.drop(0);
    known.put(spans, { ...span, fingerprints: Buffer.alloc(16, 3) });
    expect(other.find(1, print)).toBeUndefined();
    expect(other.find(2 * spans, Buffer.alloc(16, 3))).toEqual(Buffer.alloc(32, 1));
    // A place without a fingerprint is no place with one of zeros; nothing is left of what was there before.
    expect(other.find(2 * spans + 1, Buffer.alloc(16))).toBeUndefined();
    expect(other.find(2 * spans + 1, print)).toBeUndefined();
  });
});

describe('saveStream', () => {
  const sink: PackSink = {
    key: newMasterKey(),
    polynomial: '3da3358b4dc173',
    uploads: 1,
    shareIndex: () => new MemoryIndex().share(),
    storePack: async () => undefined,
  };

  test('a stop is heard while a terminal says nothing', async () => {
    // The side of a terminal that is read blocks until somebody writes to the other one, and nobody does.
    const fd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
    const stop = new AbortController();
    const { finished } = saveStream(
      sink,
      { kind: 'fd', fd },
      {
        level: undefined,
        signal: stop.signal,
        onBlobs: () => undefined,
      },
    );
    setTimeout(() => stop.abort(), 1000);
    await expect(finished).rejects.toMatchObject({ kind: 'cancelled' });
    closeSync(fd);
  }, 60_000);
});
