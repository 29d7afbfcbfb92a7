import { DatamoverError } from '../errors.ts';
import { ID_LENGTH } from './id.ts';

/**
 * A hash table of 32-byte ids with some words of payload each, in shared memory that grows in place: open addressing, at most
 * three quarters full, entries numbered from 0 in the order of their coming and never removed.
 *
 * All threads that touch a table hold the same mutex; `sync` adopts what another thread has grown. Views of a fixed length over
 * the growable memory are four times as fast as views that follow its length.
 */
export const ID_WORDS = ID_LENGTH / 4;

/** Words of the table's control block: entries in use, room for entries, slots. */
const COUNT = 0;
const CAPACITY = 1;
const SLOTS = 2;
export const TABLE_CONTROL_WORDS = 3;

/**
 * A slot is the number of an entry plus one, and in the upper six bits the same bits of the id's second word: of the strangers on
 * the way of a search, 63 of 64 are passed without touching their entries, each of which is a cache miss.
 */
const NUMBER_BITS = 26;
const NUMBER_MASK = 2 ** NUMBER_BITS - 1;
const TAG_MASK = ~NUMBER_MASK;
/** The most that any table can hold. */
export const MAX_ENTRIES = NUMBER_MASK - 1;

const FIRST_CAPACITY = 1024;
const FIRST_SLOTS = 2048;

/** What a worker thread needs to open the same table. */
export interface TableMemory {
  readonly entries: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
  /** Words of an entry: the id and its payload. The lowest bit of the first payload word is part of the key. */
  readonly stride: number;
  readonly maxEntries: number;
}

/** Reserves addresses for `maxEntries`; memory itself is taken as entries come. */
export function reserveTable(payloadWords: number, maxEntries: number): TableMemory {
  const stride = ID_WORDS + payloadWords;
  const maxSlots = 2 ** Math.ceil(Math.log2((maxEntries * 4) / 3));
  return {
    entries: new SharedArrayBuffer(0, { maxByteLength: maxEntries * stride * 4 }),
    slots: new SharedArrayBuffer(0, { maxByteLength: maxSlots * 4 }),
    stride,
    maxEntries,
  };
}

export class IdTable {
  readonly #memory: TableMemory;
  readonly #control: Int32Array;
  readonly #stride: number;
  /** Entries, readable and writable at `number * stride`. Adopted anew by `sync`: never keep it. */
  words: Uint32Array = new Uint32Array(0);
  #slots: Uint32Array = new Uint32Array(0);
  /** Where the last search in vain ended. */
  #free = 0;

  /** `control` are `TABLE_CONTROL_WORDS` of shared memory of this table's own. */
  constructor(memory: TableMemory, control: Int32Array) {
    this.#memory = memory;
    this.#control = control;
    this.#stride = memory.stride;
    if (this.#control[SLOTS] === 0) this.#grow(FIRST_CAPACITY, FIRST_SLOTS);
    this.sync();
  }

  get count(): number {
    return this.#control[COUNT] ?? 0;
  }

  /** Sees growth by other threads. Call it after taking the mutex. */
  sync(): void {
    const capacity = this.#control[CAPACITY] ?? 0;
    const slots = this.#control[SLOTS] ?? 0;
    if (this.words.length !== capacity * this.#stride) {
      this.words = new Uint32Array(this.#memory.entries, 0, capacity * this.#stride);
    }
    if (this.#slots.length !== slots) this.#slots = new Uint32Array(this.#memory.slots, 0, slots);
  }

  /** The number of the entry with this id (eight words) and key bit; -1 where there is none. */
  find(id: Uint32Array, bit: number): number {
    const slots = this.#slots;
    const words = this.words;
    const mask = slots.length - 1;
    const [first, second] = [id[0] ?? 0, id[1] ?? 0];
    for (let slot = first & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot] ?? 0;
      if (entry === 0) {
        this.#free = slot;
        return -1;
      }
      if (((entry ^ second) & TAG_MASK) !== 0) continue;
      const number = (entry & NUMBER_MASK) - 1;
      const at = number * this.#stride;
      if (
        words[at] === first &&
        words[at + 1] === second &&
        words[at + 2] === id[2] &&
        words[at + 3] === id[3] &&
        words[at + 4] === id[4] &&
        words[at + 5] === id[5] &&
        words[at + 6] === id[6] &&
        words[at + 7] === id[7] &&
        ((words[at + ID_WORDS] ?? 0) & 1) === bit
      ) {
        return number;
      }
    }
  }

  /** Adds the id that `find` has just not found; the caller fills the payload (all 0 but the key bit). Returns its number. */
  add(id: Uint32Array, bit: number): number {
    const number = this.count;
    const slots = this.#slots;
    this.reserve(number + 1);
    // A table that has grown has other free slots.
    if (slots !== this.#slots) this.find(id, bit);
    const at = number * this.#stride;
    const { words } = this;
    for (let i = 0; i < ID_WORDS; i++) words[at + i] = id[i] ?? 0;
    words[at + ID_WORDS] = bit;
    this.#slots[this.#free] = slotOf(number, id[1] ?? 0);
    this.#control[COUNT] = number + 1;
    return number;
  }

  /** Makes room for `count` entries, so that loading a big index does not rehash again and again. */
  reserve(count: number): void {
    const capacity = this.#control[CAPACITY] ?? 0;
    let slots = this.#control[SLOTS] ?? 0;
    while (count * 4 > slots * 3) slots *= 2;
    if (count <= capacity && slots === this.#control[SLOTS]) return;
    // Grown by a sixteenth: room that is not written to costs no memory, but a container's limit may count it.
    this.#grow(Math.max(capacity, Math.min(count + (count >>> 4), this.#memory.maxEntries)), slots);
  }

  #grow(capacity: number, slots: number): void {
    const { entries, slots: slotMemory, maxEntries } = this.#memory;
    if (capacity > maxEntries || this.count >= maxEntries) {
      throw new DatamoverError({
        operation: 'load index',
        cause: `it has more than ${maxEntries} entries`,
        hint: 'split the repository: the index is kept in memory',
      });
    }
    if (capacity !== this.#control[CAPACITY]) {
      entries.grow(capacity * this.#stride * 4);
      this.#control[CAPACITY] = capacity;
    }
    const rehash = slots !== this.#control[SLOTS];
    if (rehash) {
      slotMemory.grow(slots * 4);
      this.#control[SLOTS] = slots;
    }
    this.sync();
    if (!rehash) return;
    this.#slots.fill(0);
    for (let number = 0; number < this.count; number++) this.#place(number);
  }

  /** Puts an entry into the first free slot on its way. */
  #place(number: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    const at = number * this.#stride;
    let slot = (this.words[at] ?? 0) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = slotOf(number, this.words[at + 1] ?? 0);
  }
}

function slotOf(number: number, secondWord: number): number {
  return (secondWord & TAG_MASK) | (number + 1);
}
