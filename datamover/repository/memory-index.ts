import type { BlobIndex } from './blob-index.ts';
import { fromBytes, ID_LENGTH, toBytes } from './id.ts';
import { scanIndexFile } from './index-scan.ts';
import {
  ID_WORDS,
  IdTable,
  MAX_ENTRIES,
  reserveTable,
  TABLE_CONTROL_WORDS,
  type TableMemory,
} from './id-table.ts';
import { SharedMutex } from './shared-mutex.ts';
import { SparePlaces } from './spare-places.ts';
import type { BlobLocation, BlobType, Pack } from './types.ts';

/**
 * The index in shared memory: 48 bytes a blob (id 32, place 4 x 4), about 7 for its hash slot and 2 for its share of the pack
 * table: 57 bytes at 10 million blobs.
 */
const PLACE = ID_WORDS; // pack number << 2 | claimed << 1 | tree
const OFFSET = ID_WORDS + 1;
const LENGTH = ID_WORDS + 2;
const UNCOMPRESSED = ID_WORDS + 3;
const BLOB_STRIDE = ID_WORDS + 4;
const PACK_STRIDE = ID_WORDS + 1;

const CLAIMED = 2;
const PACK_SHIFT = 2;
const MARKED = 2;

/** 67 million blobs are 64 TiB of blobs of 1 MiB. Only addresses are reserved for them. */
const MAX_BLOBS = MAX_ENTRIES;
const MAX_PACKS = 2 ** 23;

const MUTEX = 0;
/** Blobs with a place: entries less those that are only claimed. */
const PLACED = 1;
const BLOB_TABLE = 2;
const PACK_TABLE = BLOB_TABLE + TABLE_CONTROL_WORDS;
const CONTROL_WORDS = PACK_TABLE + TABLE_CONTROL_WORDS;

/** What a thread needs to open the same index; goes through `workerData` or `postMessage`. */
export interface SharedIndexHandle {
  readonly control: SharedArrayBuffer;
  readonly blobs: TableMemory;
  readonly packs: TableMemory;
}

export type SharedIndex = BlobIndex;

export function openSharedIndex(handle: SharedIndexHandle): SharedIndex {
  return new MemoryIndex(handle);
}

export class MemoryIndex implements BlobIndex {
  readonly #handle: SharedIndexHandle;
  readonly #control: Int32Array;
  readonly #mutex: SharedMutex;
  readonly #blobs: IdTable;
  readonly #packs: IdTable;
  readonly #spares = new SparePlaces();
  /** An id on its way into the tables, as bytes and as words. */
  readonly #idBytes = new Uint8Array(ID_LENGTH);
  readonly #id = new Uint32Array(this.#idBytes.buffer);

  constructor(handle?: SharedIndexHandle) {
    this.#handle = handle ?? {
      control: new SharedArrayBuffer(CONTROL_WORDS * 4),
      blobs: reserveTable(BLOB_STRIDE - ID_WORDS, MAX_BLOBS),
      packs: reserveTable(PACK_STRIDE - ID_WORDS, MAX_PACKS),
    };
    this.#control = new Int32Array(this.#handle.control);
    this.#mutex = new SharedMutex(this.#control, MUTEX);
    this.#mutex.acquire();
    try {
      this.#blobs = new IdTable(this.#handle.blobs, this.#control.subarray(BLOB_TABLE, PACK_TABLE));
      this.#packs = new IdTable(this.#handle.packs, this.#control.subarray(PACK_TABLE));
    } finally {
      this.#mutex.release();
    }
  }

  get blobCount(): number {
    return Atomics.load(this.#control, PLACED);
  }

  get packCount(): number {
    return this.#locked(() => this.#packs.count);
  }

  get entryCount(): number {
    return this.#locked(() => this.#blobs.count);
  }

  /** Bytes of memory in use, for measurements. */
  get byteLength(): number {
    const { blobs, packs } = this.#handle;
    return [blobs, packs].reduce((sum, table) => sum + table.entries.byteLength + table.slots.byteLength, 0);
  }

  share(): SharedIndexHandle {
    return this.#handle;
  }

  lookup(type: BlobType, id: Uint8Array): BlobLocation | undefined {
    return this.#locked(() => {
      const at = this.#find(type, id) * BLOB_STRIDE;
      const { words } = this.#blobs;
      const pack = at < 0 ? 0 : (words[at + PLACE] ?? 0) >>> PACK_SHIFT;
      if (pack === 0) return undefined;
      const packAt = (pack - 1) * PACK_STRIDE;
      const packId = Uint32Array.from(this.#packs.words.subarray(packAt, packAt + ID_WORDS));
      return {
        type,
        pack: fromBytes(new Uint8Array(packId.buffer)),
        offset: words[at + OFFSET] ?? 0,
        length: words[at + LENGTH] ?? 0,
        uncompressedLength: words[at + UNCOMPRESSED] ?? 0,
      };
    });
  }

  missing(type: BlobType, ids: Iterable<Uint8Array>): number[] {
    return this.#locked(() => {
      const places: number[] = [];
      let place = 0;
      for (const id of ids) {
        const number = this.#find(type, id);
        if (number < 0 || this.#packOf(number) === 0) places.push(place);
        place++;
      }
      return places;
    });
  }

  isLive(type: BlobType, id: Uint8Array): boolean {
    return this.#locked(() => this.#isLive(this.#find(type, id)));
  }

  ordinal(type: BlobType, id: Uint8Array): number {
    return this.#locked(() => this.#find(type, id));
  }

  claim(id: Uint8Array, type: BlobType = 'data'): boolean {
    return this.#locked(() => {
      let number = this.#find(type, id);
      if (this.#isLive(number)) return false;
      if (number < 0) number = this.#blobs.add(this.#id, keyBit(type));
      const at = number * BLOB_STRIDE + PLACE;
      const place = this.#blobs.words[at] ?? 0;
      this.#blobs.words[at] = place | CLAIMED;
      return (place & CLAIMED) === 0;
    });
  }

  releaseClaims(): void {
    this.#locked(() => {
      const { words, count } = this.#blobs;
      for (let at = PLACE; at < count * BLOB_STRIDE; at += BLOB_STRIDE)
        words[at] = (words[at] ?? 0) & ~CLAIMED;
    });
  }

  hasPack(id: Uint8Array): boolean {
    return this.#locked(() => {
      this.#idBytes.set(id);
      return this.#packs.find(this.#id, 0) >= 0;
    });
  }

  addPack(pack: Pack, { marked = false }: { readonly marked?: boolean } = {}): void {
    this.#locked(() => {
      const number = this.#pack(toBytes(pack.id), marked);
      for (const blob of pack.blobs) {
        this.#idBytes.set(toBytes(blob.id));
        this.#place(blob.type, number, blob.offset, blob.length, blob.uncompressedLength);
      }
    });
  }

  /** Makes room for so many blobs at once. */
  reserve(blobs: number): void {
    this.#locked(() => this.#blobs.reserve(Math.min(blobs, MAX_BLOBS)));
  }

  /**
   * Takes in the JSON of an index file. Marks first: then a blob with a place in a marked and one in a live pack gets the live
   * one. `subject` names the file in errors.
   */
  addIndexFile(json: Uint8Array, subject: string): void {
    this.#locked(() => {
      if (Buffer.from(json.buffer, json.byteOffset, json.length).includes('"packs_to_delete"')) {
        this.#scan(json, subject, true);
      }
      this.#scan(json, subject, false);
    });
  }

  /** To be called when the index files have been added: a mark in one file may concern a place from another. */
  settleMarks(): void {
    this.#locked(() => {
      this.#spares.drain((number, pack, ...place) => {
        if (this.#isMarked(this.#packOf(number)) && !this.#isMarked(pack))
          this.#setPlace(number, pack, ...place);
      });
    });
  }

  #scan(json: Uint8Array, subject: string, marked: boolean): void {
    let pack = 0;
    let wanted = false;
    scanIndexFile(json, subject, {
      // Read straight into the place from which the tables search.
      blobId: this.#idBytes,
      pack: (id, mark) => {
        wanted = (mark !== undefined) === marked;
        if (wanted) pack = this.#pack(id, marked);
      },
      blob: (_id, type, offset, length, uncompressedLength) => {
        if (wanted) this.#place(type, pack, offset, length, uncompressedLength, this.#spares);
      },
    });
  }

  /** The number of a pack, from 1. */
  #pack(id: Uint8Array, marked: boolean): number {
    this.#idBytes.set(id);
    let number = this.#packs.find(this.#id, 0);
    if (number < 0) number = this.#packs.add(this.#id, 0);
    const at = number * PACK_STRIDE + PLACE;
    if (marked) this.#packs.words[at] = (this.#packs.words[at] ?? 0) | MARKED;
    return number + 1;
  }

  /** Notes a place of the blob whose id lies in `#id`. `spares` takes it where the blob has a good one already. */
  #place(
    type: BlobType,
    pack: number,
    offset: number,
    length: number,
    uncompressedLength: number,
    spares?: SparePlaces,
  ): void {
    let number = this.#blobs.find(this.#id, keyBit(type));
    if (number >= 0) {
      const known = this.#packOf(number);
      if (known === 0) Atomics.add(this.#control, PLACED, 1);
      else if (known === pack || this.#isMarked(pack)) return;
      else if (!this.#isMarked(known)) {
        spares?.add(number, pack, offset, length, uncompressedLength);
        return;
      }
    } else {
      number = this.#blobs.add(this.#id, keyBit(type));
      Atomics.add(this.#control, PLACED, 1);
    }
    this.#setPlace(number, pack, offset, length, uncompressedLength);
  }

  #setPlace(number: number, pack: number, offset: number, length: number, uncompressedLength: number): void {
    const { words } = this.#blobs;
    const at = number * BLOB_STRIDE;
    words[at + PLACE] = (pack << PACK_SHIFT) | ((words[at + PLACE] ?? 0) & 1);
    words[at + OFFSET] = offset;
    words[at + LENGTH] = length;
    words[at + UNCOMPRESSED] = uncompressedLength;
  }

  #find(type: BlobType, id: Uint8Array): number {
    this.#idBytes.set(id);
    return this.#blobs.find(this.#id, keyBit(type));
  }

  /** The number of the pack in which a blob lies; 0 where it is only claimed. */
  #packOf(number: number): number {
    return (this.#blobs.words[number * BLOB_STRIDE + PLACE] ?? 0) >>> PACK_SHIFT;
  }

  #isLive(number: number): boolean {
    const pack = number < 0 ? 0 : this.#packOf(number);
    return pack !== 0 && !this.#isMarked(pack);
  }

  #isMarked(pack: number): boolean {
    return ((this.#packs.words[(pack - 1) * PACK_STRIDE + PLACE] ?? 0) & MARKED) !== 0;
  }

  #locked<T>(task: () => T): T {
    this.#mutex.acquire();
    try {
      this.#blobs.sync();
      this.#packs.sync();
      return task();
    } finally {
      this.#mutex.release();
    }
  }
}

/** A data blob and a tree blob with the same bytes are two blobs. */
function keyBit(type: BlobType): number {
  return type === 'tree' ? 1 : 0;
}
