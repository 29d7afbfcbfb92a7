import { describe, expect, test } from '@jest/globals';
import { BitSet } from '../repository/bit-set.ts';
import { BlobProof } from '../repository/blob-proof.ts';
import { Fingerprinter } from '../repository/crypto/fingerprint.ts';
import { sha256, toBytes } from '../repository/id.ts';
import { newMasterKey } from '../repository/key-file.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import { noise } from '../repository/testing/bytes.ts';
import type { ByteRange, RangeContent } from '../volumes/driver.ts';
import { ContentList } from './content-list.ts';
import { EarlySample } from './early-sample.ts';
import { FingerprintList } from './fingerprints.ts';
import type { SampleReport } from './sample.ts';

const CELLS = 12;
const key = newMasterKey();
const image = noise('image', (CELLS - 1) * CELL_BYTES + 5000);

/** What a backup of these bytes knows; every other cell has a fingerprint. */
function contentOf(bytes: Buffer): { content: ContentList; fingerprints: FingerprintList } {
  const content = new ContentList();
  const fingerprints = new FingerprintList();
  const fingerprinter = new Fingerprinter(key);
  for (let cell = 0; cell * CELL_BYTES < bytes.length; cell++) {
    const part = bytes.subarray(cell * CELL_BYTES, (cell + 1) * CELL_BYTES);
    content.set(cell, toBytes(sha256(part)));
    if (cell % 2 === 0) fingerprints.set(cell, fingerprinter.of(part));
  }
  return { content, fingerprints };
}

/** What came of a sample of the image with `source` in its place, of which all but `touched` is said to be unchanged. */
async function reportOf(
  source: Buffer,
  touched: readonly number[],
  cells?: number,
): Promise<{ report: SampleReport | undefined; read: number[] }> {
  const read: number[] = [];
  async function* readRanges(ranges: readonly ByteRange[]): AsyncGenerator<RangeContent> {
    for (const { offset, length } of ranges) {
      await Promise.resolve();
      read.push(offset / CELL_BYTES);
      yield { offset, bytes: source.subarray(offset, offset + length) };
    }
  }
  const base = contentOf(image);
  const from = { base, baseBytes: image.length, bytes: source.length, readRanges, proof: new BlobProof(key) };
  const sample = new EarlySample(from, cells === undefined ? {} : { cells }, undefined);
  // The backup takes the base over at once.
  const after = contentOf(source);
  const kept = new BitSet(Math.ceil(source.length / CELL_BYTES));
  for (let cell = 0; cell < kept.capacity; cell++) {
    if (touched.includes(cell)) base.content.set(cell, Buffer.from(after.content.at(cell)));
    else kept.add(cell);
  }
  const report = await sample.report({ ...base, cells: kept, imageBytes: source.length });
  await sample.end();
  return { report, read };
}

function changed(...cells: readonly number[]): Buffer {
  const bytes = Buffer.from(image);
  for (const cell of cells)
    bytes.writeUInt8(bytes.readUInt8(cell * CELL_BYTES + 7) ^ 1, cell * CELL_BYTES + 7);
  return bytes;
}

describe('a sample that is read while the changes are', () => {
  test('counts unchanged cells alone, each once, and as many as are asked for', async () => {
    expect((await reportOf(image, [])).report).toEqual({ cells: CELLS });
    const { report, read } = await reportOf(changed(3, 4), [3, 4]);
    expect(report).toEqual({ cells: CELLS - 2 });
    expect(read.toSorted((a, b) => a - b)).toEqual(Array.from({ length: CELLS }, (_, cell) => cell));
    for (let i = 0; i < 20; i++)
      expect((await reportOf(changed(0, 1, 2), [0, 1, 2], 5)).report).toEqual({ cells: 5 });
    expect((await reportOf(image, [], 0)).report).toBeUndefined();
    const all = Array.from({ length: CELLS }, (_, cell) => cell);
    expect((await reportOf(image, all)).report).toBeUndefined();
  });

  test('F-61 finds a cell that changed and was not named, the first one', async () => {
    expect((await reportOf(changed(2, 5, 8), [2])).report).toEqual({ cells: 5, differsAt: 5 * CELL_BYTES });
    expect((await reportOf(changed(CELLS - 1), [])).report).toMatchObject({
      differsAt: (CELLS - 1) * CELL_BYTES,
    });
    // Of twelve cells ten are named: whatever was drawn first, the two that are left are looked at.
    const named = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    for (let i = 0; i < 20; i++)
      expect((await reportOf(changed(10), named, 2)).report).toMatchObject({ differsAt: 10 * CELL_BYTES });
  });

  test('compares no cell that is longer or shorter than it was', async () => {
    const grown = Buffer.concat([image, noise('more', 3 * CELL_BYTES)]);
    const last = [CELLS - 1, CELLS, CELLS + 1, CELLS + 2];
    const larger = await reportOf(grown, last);
    expect(larger.report).toEqual({ cells: CELLS - 1 });
    expect(Math.max(...larger.read)).toBe(CELLS - 2);
    const smaller = await reportOf(image.subarray(0, 4 * CELL_BYTES + 9), [4]);
    expect(smaller.report).toEqual({ cells: 4 });
  });

  test('fails when the source cannot be read, and reads no more after its end', async () => {
    let read = 0;
    async function* slowly(ranges: readonly ByteRange[], signal?: AbortSignal): AsyncGenerator<RangeContent> {
      for (const { offset, length } of ranges) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        signal?.throwIfAborted();
        if (++read > 6) throw new Error('the device does not answer');
        yield { offset, bytes: image.subarray(offset, offset + length) };
      }
    }
    const source = { base: contentOf(image), baseBytes: image.length, bytes: image.length };
    const from = { ...source, readRanges: slowly, proof: new BlobProof(key) };
    const kept = new BitSet(CELLS);
    kept.add(0);
    const failing = new EarlySample(from, {}, undefined);
    await expect(
      failing.report({ ...contentOf(image), cells: kept, imageBytes: image.length }),
    ).rejects.toThrow('the device does not answer');
    read = 0;
    const ended = new EarlySample(from, {}, undefined);
    await ended.end();
    const then = read;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(read).toBe(then);
  });
});
