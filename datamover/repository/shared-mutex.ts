/**
 * A lock over shared memory that threads (the main one too) hold for microseconds. Futex style: 0 free, 1 held, 2 held and
 * somebody waits; an uncontended turn costs two atomic operations.
 */
const FREE = 0;
const HELD = 1;
const CONTENDED = 2;

/** A holder needs microseconds, or a second while a big index grows. Who waits longer waits for a dead thread. */
const PATIENCE_MS = 60_000;

export class SharedMutex {
  readonly #words: Int32Array;
  readonly #at: number;

  /** `words` lie in shared memory; the word at `at` belongs to this mutex and starts as 0. */
  constructor(words: Int32Array, at: number) {
    this.#words = words;
    this.#at = at;
  }

  acquire(): void {
    if (Atomics.compareExchange(this.#words, this.#at, FREE, HELD) === FREE) return;
    const deadline = performance.now() + PATIENCE_MS;
    while (Atomics.exchange(this.#words, this.#at, CONTENDED) !== FREE) {
      if (performance.now() > deadline)
        throw new Error('a thread died while it held the lock of the blob index');
      Atomics.wait(this.#words, this.#at, CONTENDED, 1000);
    }
  }

  release(): void {
    if (Atomics.exchange(this.#words, this.#at, FREE) === CONTENDED) Atomics.notify(this.#words, this.#at, 1);
  }
}
