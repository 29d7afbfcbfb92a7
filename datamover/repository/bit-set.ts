/** A set of small whole numbers, one bit each: 10 million blobs take 1.2 MiB. */
export class BitSet {
  readonly #words: Uint32Array;
  readonly capacity: number;

  /** For numbers from 0 to `capacity` - 1. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#words = new Uint32Array(Math.ceil(capacity / 32));
  }

  has(number: number): boolean {
    return (((this.#words[number >>> 5] ?? 0) >>> (number & 31)) & 1) === 1;
  }

  /** Whether the number is new in the set. */
  add(number: number): boolean {
    if (number < 0 || number >= this.capacity) {
      throw new RangeError(`${number} is not below ${this.capacity}`);
    }
    if (this.has(number)) return false;
    this.#words[number >>> 5] = (this.#words[number >>> 5] ?? 0) | (1 << (number & 31));
    return true;
  }

  remove(number: number): void {
    if (this.has(number))
      this.#words[number >>> 5] = (this.#words[number >>> 5] ?? 0) & ~(1 << (number & 31));
  }

  get size(): number {
    let count = 0;
    for (let word of this.#words) for (; word !== 0; word &= word - 1) count++;
    return count;
  }

  /** The numbers in the set, ascending. */
  *[Symbol.iterator](): Generator<number> {
    for (const [at, word] of this.#words.entries()) {
      for (let bits = word; bits !== 0; bits &= bits - 1) yield 32 * at + 31 - Math.clz32(bits & -bits);
    }
  }

  copy(): BitSet {
    const twin = new BitSet(this.capacity);
    twin.#words.set(this.#words);
    return twin;
  }
}
