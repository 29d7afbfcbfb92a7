import { BitSet } from './bit-set.ts';
import type { BlobIndex } from './blob-index.ts';
import { shortId } from './id.ts';
import { scanIndexFile } from './index-scan.ts';
import { entryLength, packLength } from './pack-header.ts';
import { epochMilliseconds } from './time.ts';
import {
  ANCHORED,
  bump,
  HAS_DATA,
  HAS_PLAIN,
  HAS_TREES,
  INDEXED,
  LISTED,
  MARK_ONLY,
  PackTable,
} from './pack-table.ts';
import type { BlobType, Id } from './types.ts';

/** One index file in its plain form. */
export interface IndexDocument {
  readonly id: Id;
  /** Bytes as stored. */
  readonly size: number;
  /** The JSON. */
  readonly json: Uint8Array;
}

export interface PackUsage {
  readonly packs: PackTable;
  /** In the order in which `PackTable.indexFile` counts. */
  readonly indexFiles: readonly { readonly id: Id; readonly size: number; readonly untidy: boolean }[];
  /** Packs that several index files describe differently: nothing can be said of their blobs. */
  readonly contradictions: readonly string[];
}

/**
 * Says of every pack how much of it is in use. Of several copies of a used blob one counts as used, the others as duplicates: a copy in a
 * pack that stays anyway (it holds a used blob that no other pack has) goes before others, one in an unmarked pack before one in a
 * marked pack, and one in a missing pack comes last.
 *
 * `documents` gives all index files in the same order each time. They are read once; a second time where a used blob has several copies. Memory: a few bits a blob, 100 bytes a pack, and 12 bytes
 * for each copy of a blob that has several.
 */
export async function measureUsage(
  index: BlobIndex,
  used: BitSet,
  listed: AsyncIterable<{ readonly name: Id; readonly size: number }>,
  documents: () => AsyncIterable<IndexDocument>,
): Promise<PackUsage> {
  const packs = new PackTable();
  for await (const file of listed) {
    const row = packs.add(Buffer.from(file.name, 'hex'));
    packs.size[row] = file.size;
    packs.set(row, LISTED);
  }
  const survey = new Survey(packs, index, used);
  for await (const document of documents()) survey.read(document);
  const readAgain = async (read: (document: IndexDocument, number: number) => void): Promise<void> => {
    let number = 0;
    for await (const document of documents()) read(document, number++);
  };
  const adopts = survey.hasMarkedOnly();
  if (adopts) await readAgain((document, number) => survey.adopt(document, number));
  if (survey.multiple.size > 0) {
    const copies = new CopyList();
    // In the order in which they were counted, for the first copy of each was.
    await readAgain((document, number) => survey.collectCopies(document, number, copies, false));
    if (adopts) await readAgain((document, number) => survey.collectCopies(document, number, copies, true));
    settle(packs, copies, used.capacity);
  }
  const unplaced = used.size - survey.placed;
  return {
    packs,
    indexFiles: survey.files,
    contradictions: [
      ...survey.contradictions,
      ...(unplaced > 0 ? [`${unplaced} blobs in use are in no index file any more`] : []),
    ],
  };
}

/** The first reading: packs, their sizes and marks, and the use of each blob, the first copy of a used blob taken for the only one. */
class Survey {
  readonly files: { id: Id; size: number; untidy: boolean }[] = [];
  readonly contradictions: string[] = [];
  /** Used blobs with several copies. */
  readonly multiple: BitSet;
  readonly #seen: BitSet;
  readonly #met: BitSet;
  readonly #packs: PackTable;
  readonly #index: BlobIndex;
  readonly #used: BitSet;

  constructor(packs: PackTable, index: BlobIndex, used: BitSet) {
    this.#packs = packs;
    this.#index = index;
    this.#used = used;
    this.#seen = new BitSet(used.capacity);
    this.#met = new BitSet(used.capacity);
    this.multiple = new BitSet(used.capacity);
  }

  /** Used blobs that some pack holds. */
  get placed(): number {
    return this.#seen.size;
  }

  read({ id, size, json }: IndexDocument): void {
    const packs = this.#packs;
    const number = this.files.push({ id, size, untidy: false }) - 1;
    let row = -1;
    let again = false;
    let sum = 0;
    const close = (): void => {
      if (row >= 0 && !again) packs.indexedSize[row] = sum;
      else if (row >= 0 && packs.indexedSize[row] !== sum) {
        this.contradictions.push(`pack ${packs.id(row)} is described differently by several index files`);
      }
      row = -1;
    };
    scanIndexFile(json, `index ${shortId(id)}`, {
      pack: (packId, mark) => {
        close();
        const found = packs.add(packId);
        if (mark !== undefined) return this.#mark(found, mark, number);
        row = found;
        sum = packLength([]);
        again = packs.has(row, INDEXED);
        if (again) this.#untidy(number, packs.indexFile[row] ?? -1);
        else packs.indexFile[row] = number;
        packs.set(row, INDEXED);
      },
      blob: (blobId, type, _offset, length, uncompressedLength) => {
        if (row < 0) return;
        sum += length + entryLength({ uncompressedLength });
        if (!again) this.#count(row, type, blobId, length, uncompressedLength);
      },
    });
    close();
  }

  /** Whether there are packs that index files list as marked alone. */
  hasMarkedOnly(): boolean {
    const { length } = this.#packs;
    for (let row = 0; row < length; row++) if (this.#isMarkedOnly(row)) return true;
    return false;
  }

  /** Counts the packs of this file that are listed as marked alone. */
  adopt({ id, json }: IndexDocument, number: number): void {
    const packs = this.#packs;
    let row = -1;
    scanIndexFile(json, `index ${shortId(id)}`, {
      pack: (packId, mark) => {
        const found = packs.find(packId);
        row =
          mark !== undefined && this.#isMarkedOnly(found) && packs.markFile[found] === number ? found : -1;
        if (row < 0) return;
        packs.set(row, INDEXED | MARK_ONLY);
        packs.indexFile[row] = number;
        packs.indexedSize[row] = packLength([]);
      },
      blob: (blobId, type, _offset, length, uncompressedLength) => {
        if (row < 0) return;
        bump(packs.indexedSize, row, length + entryLength({ uncompressedLength }));
        this.#count(row, type, blobId, length, uncompressedLength);
      },
    });
  }

  #isMarkedOnly(row: number): boolean {
    const packs = this.#packs;
    return packs.isMarked(row) && packs.has(row, LISTED) && !packs.has(row, INDEXED);
  }

  #count(row: number, type: BlobType, blobId: Uint8Array, length: number, uncompressedLength: number): void {
    const packs = this.#packs;
    const bytes = length + entryLength({ uncompressedLength });
    packs.set(row, type === 'tree' ? HAS_TREES : HAS_DATA);
    if (uncompressedLength === 0) packs.set(row, HAS_PLAIN);
    const ordinal = this.#index.ordinal(type, blobId);
    if (!this.#used.has(ordinal)) count(packs, 'unused', row, bytes);
    else if (this.#seen.add(ordinal)) count(packs, 'used', row, bytes);
    else this.multiple.add(ordinal);
  }

  /** The second reading: takes blobs with several copies out of the count again and notes every copy. */
  collectCopies({ id, json }: IndexDocument, number: number, copies: CopyList, markedOnly: boolean): void {
    const packs = this.#packs;
    const met = this.#met;
    const here = new Set<number>();
    let row = -1;
    scanIndexFile(json, `index ${shortId(id)}`, {
      pack: (packId, mark) => {
        row = packs.find(packId);
        if ((mark !== undefined) !== markedOnly || packs.has(row, MARK_ONLY) !== markedOnly) row = -1;
        // A pack counts where it was listed first.
        if (row >= 0 && (packs.indexFile[row] !== number || here.has(row))) row = -1;
        here.add(row);
      },
      blob: (blobId, type, _offset, length, uncompressedLength) => {
        if (row < 0) return;
        const ordinal = this.#index.ordinal(type, blobId);
        if (!this.multiple.has(ordinal)) return;
        const bytes = length + entryLength({ uncompressedLength });
        if (met.add(ordinal)) count(packs, 'used', row, bytes, -1);
        copies.push(ordinal, row, bytes);
      },
    });
  }

  /** Of several marks the latest counts: the pack may have been unmarked in between. */
  #mark(row: number, time: string, number: number): void {
    const packs = this.#packs;
    const parsed = epochMilliseconds(time);
    // A mark without a readable time is as good as new, never as good as old.
    const at = Number.isNaN(parsed) ? Infinity : parsed;
    if (packs.isMarked(row)) {
      this.#untidy(number, packs.markFile[row] ?? -1);
      if (at <= (packs.markedAt[row] ?? NaN)) return;
    }
    packs.markedAt[row] = at;
    packs.markFile[row] = number;
  }

  #untidy(...numbers: number[]): void {
    for (const number of numbers) {
      const file = this.files[number];
      if (file !== undefined) file.untidy = true;
    }
  }
}

/** Decides which copy of each blob is the one that counts as used. */
function settle(packs: PackTable, copies: CopyList, capacity: number): void {
  for (let row = 0; row < packs.length; row++) if ((packs.usedBlobs[row] ?? 0) > 0) packs.set(row, ANCHORED);
  const taken = new BitSet(capacity);
  for (const rank of [3, 2, 1, 0]) {
    for (const anchored of [true, false]) {
      copies.forEach((ordinal, row, bytes) => {
        if (rankOf(packs, row) !== rank || packs.has(row, ANCHORED) !== anchored) return;
        count(packs, taken.add(ordinal) ? 'used' : 'duplicate', row, bytes);
      });
    }
  }
}

/** How much we like a copy to be the one that stays. */
function rankOf(packs: PackTable, row: number): number {
  if (!packs.has(row, LISTED)) return 0;
  if (packs.size[row] !== packs.indexedSize[row]) return 1;
  return packs.isMarked(row) ? 2 : 3;
}

function count(
  packs: PackTable,
  as: 'used' | 'unused' | 'duplicate',
  row: number,
  bytes: number,
  by = 1,
): void {
  bump(packs[`${as}Blobs`], row, by);
  bump(packs[`${as}Bytes`], row, by * bytes);
}

/** Copies of blobs: three numbers each, in arrays that double. */
class CopyList {
  #cells = new Uint32Array(3 * 1024);
  #length = 0;

  push(ordinal: number, row: number, bytes: number): void {
    if (this.#length === this.#cells.length) {
      const longer = new Uint32Array(2 * this.#length);
      longer.set(this.#cells);
      this.#cells = longer;
    }
    this.#cells[this.#length++] = ordinal;
    this.#cells[this.#length++] = row;
    this.#cells[this.#length++] = bytes;
  }

  forEach(visit: (ordinal: number, row: number, bytes: number) => void): void {
    const cells = this.#cells;
    for (let at = 0; at < this.#length; at += 3)
      visit(cells[at] ?? 0, cells[at + 1] ?? 0, cells[at + 2] ?? 0);
  }
}
