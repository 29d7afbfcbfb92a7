import { FINGERPRINT_BYTES } from '../crypto/fingerprint.ts';

/** A cell of an earlier backup, in the room that belongs to a slab. */
export type BaseCell =
  /** Proved and decoded. */
  | { readonly form: 'plain'; readonly length: number }
  /** As it lies in its pack: `sealedLength` bytes that decode to `length`. */
  | {
      readonly form: 'sealed';
      readonly length: number;
      readonly sealedLength: number;
      readonly uncompressedLength: number;
      readonly id: Uint8Array;
      /** Zeros where nobody knows it. */
      readonly fingerprint: Uint8Array;
    };

/** Words of a slab: what is there, lengths, then the id and the fingerprint. */
const WORDS = {
  state: 0,
  length: 1,
  sealedLength: 2,
  uncompressedLength: 3,
  id: 4,
  fingerprint: 12,
  all: 16,
};
const ID_BYTES = 32;
const STATES = { asked: 0, plain: 1, sealed: 2 } as const;
/** How soon a thread that waits sees that the job has stopped. */
const LOOK_EVERY_MS = 200;

/** What the main thread has found of the base of the cell in each slab, in memory that it shares with the thread that asks. */
export class BaseCells {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;

  private constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
  }

  static forSlabs(slabs: number): BaseCells {
    return new BaseCells(new SharedArrayBuffer(4 * WORDS.all * slabs));
  }

  static open(shared: SharedArrayBuffer): BaseCells {
    return new BaseCells(shared);
  }

  /** Before the main thread is asked. */
  ask(slab: number): void {
    Atomics.store(this.#words, slab * WORDS.all, STATES.asked);
  }

  /** The answer, for whoever waits. */
  put(slab: number, cell: BaseCell): void {
    const at = slab * WORDS.all;
    this.#words[at + WORDS.length] = cell.length;
    if (cell.form === 'sealed') {
      this.#words[at + WORDS.sealedLength] = cell.sealedLength;
      this.#words[at + WORDS.uncompressedLength] = cell.uncompressedLength;
      this.#bytes(slab, WORDS.id, ID_BYTES).set(cell.id);
      this.#bytes(slab, WORDS.fingerprint, FINGERPRINT_BYTES).set(cell.fingerprint);
    }
    Atomics.store(this.#words, at, STATES[cell.form]);
    Atomics.notify(this.#words, at);
  }

  isAnswered(slab: number): boolean {
    return Atomics.load(this.#words, slab * WORDS.all) !== STATES.asked;
  }

  /** Waits for the answer; undefined once `stopped` says so. */
  wait(slab: number, stopped: () => boolean): BaseCell | undefined {
    const at = slab * WORDS.all;
    while (!this.isAnswered(slab)) {
      if (stopped()) return undefined;
      Atomics.wait(this.#words, at, STATES.asked, LOOK_EVERY_MS);
    }
    const word = (index: number): number => this.#words[at + index] ?? 0;
    const length = word(WORDS.length);
    if (word(WORDS.state) === STATES.plain) return { form: 'plain', length };
    return {
      form: 'sealed',
      length,
      sealedLength: word(WORDS.sealedLength),
      uncompressedLength: word(WORDS.uncompressedLength),
      id: this.#bytes(slab, WORDS.id, ID_BYTES),
      fingerprint: this.#bytes(slab, WORDS.fingerprint, FINGERPRINT_BYTES),
    };
  }

  #bytes(slab: number, word: number, length: number): Uint8Array {
    return new Uint8Array(this.shared, 4 * (slab * WORDS.all + word), length);
  }
}
