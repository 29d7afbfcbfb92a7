/**
 * The words that the threads of one transfer share: a lock-free queue of blobs from the reader to the workers, the free
 * lists of slabs and pack slots, counters for progress, and the flag that stops everybody.
 *
 * One reader pushes, several workers pop. A descriptor is five words: address, length, slab, sequence
 * number, known chunk.
 */

const Word = {
  head: 0,
  tail: 1,
  /** 1 once the reader has pushed its last blob. */
  inputEnded: 2,
  /** 1 once somebody failed or the job was cancelled: every loop looks at it. */
  stopped: 3,
  /** Counts up whenever a pack slot becomes free; workers sleep on it. */
  slotFreed: 4,
  /** The next cell of a grid that a worker may claim. */
  nextCell: 5,
  slabUsers: 16,
  packSlots: 48,
  descriptors: 112,
} as const;

export const MAX_SLABS = Word.packSlots - Word.slabUsers;
export const MAX_PACK_SLOTS = Word.descriptors - Word.packSlots;
const DESCRIPTORS = 4096;
const DESCRIPTOR_WORDS = 5;

/** Byte counters, in the order of their words. */
export const COUNTERS = ['read', 'fresh', 'duplicate', 'zero', 'stored'] as const;
export type Counter = (typeof COUNTERS)[number];

export interface BlobDescriptor {
  readonly address: number;
  readonly length: number;
  readonly slab: number;
  readonly sequence: number;
  /** The chunk of an earlier backup (known-chunks.ts) that this blob is; -1 where none is known. */
  readonly known: number;
}

/** What is sent to a thread so that it can open the same control block. */
export interface ControlHandle {
  readonly words: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
}

export class Control {
  readonly handle: ControlHandle;
  readonly #words: Int32Array;
  readonly #counters: BigInt64Array;

  constructor(handle?: ControlHandle) {
    this.handle = handle ?? {
      words: new SharedArrayBuffer((Word.descriptors + DESCRIPTORS * DESCRIPTOR_WORDS) * 4),
      counters: new SharedArrayBuffer(COUNTERS.length * 8),
    };
    this.#words = new Int32Array(this.handle.words);
    this.#counters = new BigInt64Array(this.handle.counters);
  }

  get stopped(): boolean {
    return Atomics.load(this.#words, Word.stopped) !== 0;
  }

  /** Wakes every sleeper; each then sees `stopped`. */
  stop(): void {
    Atomics.store(this.#words, Word.stopped, 1);
    Atomics.notify(this.#words, Word.tail);
    Atomics.notify(this.#words, Word.slotFreed);
    for (let slab = 0; slab < MAX_SLABS; slab++) Atomics.notify(this.#words, Word.slabUsers + slab);
  }

  count(counter: Counter, bytes: number): void {
    Atomics.add(this.#counters, COUNTERS.indexOf(counter), BigInt(bytes));
  }

  counted(counter: Counter): number {
    return Number(Atomics.load(this.#counters, COUNTERS.indexOf(counter)));
  }

  /** Claims the next cell of a grid; the caller compares it with the number of cells. */
  nextCell(): number {
    return Atomics.add(this.#words, Word.nextCell, 1);
  }

  /** Reader: hands a blob to whichever worker is free. Sleeps while the queue is full. False once stopped. */
  push(blob: BlobDescriptor): boolean {
    const tail = Atomics.load(this.#words, Word.tail);
    while (this.room <= 0) {
      if (this.stopped) return false;
      Atomics.wait(this.#words, Word.slotFreed, Atomics.load(this.#words, Word.slotFreed), 5);
    }
    Atomics.add(this.#words, Word.slabUsers + blob.slab, 1);
    const at = Word.descriptors + (tail % DESCRIPTORS) * DESCRIPTOR_WORDS;
    this.#words[at] = blob.address;
    this.#words[at + 1] = blob.length;
    this.#words[at + 2] = blob.slab;
    this.#words[at + 3] = blob.sequence;
    this.#words[at + 4] = blob.known;
    Atomics.store(this.#words, Word.tail, tail + 1);
    Atomics.notify(this.#words, Word.tail, 1);
    return !this.stopped;
  }

  /** Blobs that wait for a worker. */
  get queued(): number {
    return Atomics.load(this.#words, Word.tail) - Atomics.load(this.#words, Word.head);
  }

  /** Blobs that push() takes now without sleeping. */
  get room(): number {
    return DESCRIPTORS - this.queued;
  }

  endInput(): void {
    Atomics.store(this.#words, Word.inputEnded, 1);
    Atomics.notify(this.#words, Word.tail);
  }

  /** Worker: the next blob, or undefined when there are no more or the job has stopped. Sleeps while the queue is empty, if asked to. */
  pop({ wait }: { readonly wait: boolean } = { wait: true }): BlobDescriptor | undefined {
    const words = this.#words;
    for (;;) {
      if (this.stopped) return undefined;
      const head = Atomics.load(words, Word.head);
      const tail = Atomics.load(words, Word.tail);
      if (head === tail) {
        if (Atomics.load(words, Word.inputEnded) !== 0 && Atomics.load(words, Word.tail) === head)
          return undefined;
        if (!wait) return undefined;
        Atomics.wait(words, Word.tail, tail, 200);
        continue;
      }
      const at = Word.descriptors + (head % DESCRIPTORS) * DESCRIPTOR_WORDS;
      const blob = {
        address: (words[at] ?? 0) >>> 0,
        length: words[at + 1] ?? 0,
        slab: words[at + 2] ?? 0,
        sequence: (words[at + 3] ?? 0) >>> 0,
        known: words[at + 4] ?? -1,
      };
      if (Atomics.compareExchange(words, Word.head, head, head + 1) === head) return blob;
    }
  }

  /** Reader: whether no worker uses the slab. */
  isFree(slab: number): boolean {
    return Atomics.load(this.#words, Word.slabUsers + slab) === 0;
  }

  /** Reader: waits until no worker uses the slab, then takes it. False once stopped. */
  acquireSlab(slab: number): boolean {
    for (;;) {
      if (this.stopped) return false;
      const users = Atomics.load(this.#words, Word.slabUsers + slab);
      if (users === 0) break;
      Atomics.wait(this.#words, Word.slabUsers + slab, users, 200);
    }
    Atomics.store(this.#words, Word.slabUsers + slab, 1);
    return true;
  }

  /** Gives up one use of a slab: the reader's own, or a worker's when it is done with a blob. */
  releaseSlab(slab: number): void {
    if (Atomics.sub(this.#words, Word.slabUsers + slab, 1) === 1)
      Atomics.notify(this.#words, Word.slabUsers + slab);
  }

  /** Worker: a free pack slot of `slots`; sleeps while uploads hold all of them. Undefined once stopped. */
  acquirePackSlot(slots: number): number | undefined {
    for (;;) {
      if (this.stopped) return undefined;
      const freed = Atomics.load(this.#words, Word.slotFreed);
      for (let slot = 0; slot < slots; slot++) {
        if (Atomics.compareExchange(this.#words, Word.packSlots + slot, 0, 1) === 0) return slot;
      }
      Atomics.wait(this.#words, Word.slotFreed, freed, 200);
    }
  }

  /** Main thread: the pack in this slot is stored. */
  releasePackSlot(slot: number): void {
    Atomics.store(this.#words, Word.packSlots + slot, 0);
    Atomics.add(this.#words, Word.slotFreed, 1);
    Atomics.notify(this.#words, Word.slotFreed);
  }
}
