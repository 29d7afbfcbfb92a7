import { fromBytes, ID_LENGTH } from './id.ts';
import type { Id } from './types.ts';

/** Bits of `PackTable.flags`. */
export const LISTED = 1; // the store has a file of this name
export const INDEXED = 2; // an index file lists it under `packs`
export const HAS_DATA = 4;
export const HAS_TREES = 8;
export const HAS_PLAIN = 16; // at least one blob is stored uncompressed
export const ANCHORED = 32; // holds a used blob that no other pack has
export const MARK_ONLY = 64; // index files list it under `packs_to_delete` alone, as rustic does

type Column = Uint8Array | Uint32Array | Int32Array | Float64Array;

/**
 * What maintenance knows of every pack, in columns: about 100 bytes a pack, so that a repository of 10 TiB (some 600,000 packs) takes
 * 60 MiB and no objects. A row is a number from 0; rows stay where they are.
 */
export class PackTable {
  /** Bytes of the file as the store lists it. */
  size: Float64Array = new Float64Array(0);
  /** Bytes that the file must have by what the index says of it, header included. */
  indexedSize: Float64Array = new Float64Array(0);
  usedBytes: Float64Array = new Float64Array(0);
  /** Used blobs whose copy in another pack is the one to stay. */
  duplicateBytes: Float64Array = new Float64Array(0);
  unusedBytes: Float64Array = new Float64Array(0);
  usedBlobs: Uint32Array = new Uint32Array(0);
  duplicateBlobs: Uint32Array = new Uint32Array(0);
  unusedBlobs: Uint32Array = new Uint32Array(0);
  /** When prune marked it, in milliseconds since 1970; NaN where it is not marked. */
  markedAt: Float64Array = new Float64Array(0);
  /** Which index file lists it, as a number of the caller; -1 where none does. */
  indexFile: Int32Array = new Int32Array(0);
  /** Which index file holds the mark; -1 where it is not marked. */
  markFile: Int32Array = new Int32Array(0);
  flags: Uint8Array = new Uint8Array(0);

  #ids: Uint8Array = new Uint8Array(0);
  /** Open addressing: row + 1, 0 for an empty slot. Ids are hashes already, so their first bytes serve. */
  #slots: Uint32Array;
  #length = 0;

  constructor(expected = 1024) {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(16, expected)));
    this.#slots = new Uint32Array(2 * capacity);
    this.#resize(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** The row of this pack; a new one, all zero and not marked, where it was unknown. */
  add(id: Uint8Array): number {
    const known = this.find(id);
    if (known >= 0) return known;
    if (this.#length === this.flags.length) this.#grow();
    const row = this.#length++;
    this.#ids.set(id, row * ID_LENGTH);
    this.markedAt[row] = NaN;
    this.indexFile[row] = -1;
    this.markFile[row] = -1;
    this.#enter(row);
    return row;
  }

  /** The row of this pack, or -1. */
  find(id: Uint8Array): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = firstBytes(id, 0) & mask; ; slot = (slot + 1) & mask) {
      const row = (slots[slot] ?? 0) - 1;
      if (row < 0) return -1;
      if (this.#matches(row, id)) return row;
    }
  }

  id(row: number): Id {
    return fromBytes(this.#ids.subarray(row * ID_LENGTH, (row + 1) * ID_LENGTH));
  }

  has(row: number, flag: number): boolean {
    return ((this.flags[row] ?? 0) & flag) !== 0;
  }

  set(row: number, flag: number): void {
    this.flags[row] = (this.flags[row] ?? 0) | flag;
  }

  isMarked(row: number): boolean {
    return !Number.isNaN(this.markedAt[row] ?? NaN);
  }

  #matches(row: number, id: Uint8Array): boolean {
    const at = row * ID_LENGTH;
    for (let i = 0; i < ID_LENGTH; i++) if (this.#ids[at + i] !== id[i]) return false;
    return true;
  }

  #enter(row: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = firstBytes(this.#ids, row * ID_LENGTH) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = row + 1;
  }

  #grow(): void {
    const capacity = 2 * this.flags.length;
    this.#resize(capacity);
    this.#slots = new Uint32Array(2 * capacity);
    for (let row = 0; row < this.#length; row++) this.#enter(row);
  }

  #resize(capacity: number): void {
    const resized = <C extends Column>(column: C, longer: C): C => {
      longer.set(column);
      return longer;
    };
    this.size = resized(this.size, new Float64Array(capacity));
    this.indexedSize = resized(this.indexedSize, new Float64Array(capacity));
    this.usedBytes = resized(this.usedBytes, new Float64Array(capacity));
    this.duplicateBytes = resized(this.duplicateBytes, new Float64Array(capacity));
    this.unusedBytes = resized(this.unusedBytes, new Float64Array(capacity));
    this.usedBlobs = resized(this.usedBlobs, new Uint32Array(capacity));
    this.duplicateBlobs = resized(this.duplicateBlobs, new Uint32Array(capacity));
    this.unusedBlobs = resized(this.unusedBlobs, new Uint32Array(capacity));
    this.markedAt = resized(this.markedAt, new Float64Array(capacity));
    this.indexFile = resized(this.indexFile, new Int32Array(capacity));
    this.markFile = resized(this.markFile, new Int32Array(capacity));
    this.flags = resized(this.flags, new Uint8Array(capacity));
    this.#ids = resized(this.#ids, new Uint8Array(capacity * ID_LENGTH));
  }
}

/** Adds to one cell of a column. */
export function bump(column: Float64Array | Uint32Array, row: number, by: number): void {
  column[row] = (column[row] ?? 0) + by;
}

function firstBytes(ids: Uint8Array, at: number): number {
  return (
    ((ids[at] ?? 0) | ((ids[at + 1] ?? 0) << 8) | ((ids[at + 2] ?? 0) << 16) | ((ids[at + 3] ?? 0) << 24)) >>>
    0
  );
}
