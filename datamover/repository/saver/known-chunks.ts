import { FINGERPRINT_BYTES } from '../crypto/fingerprint.ts';

const ID_BYTES = 32;
/** Words of a chunk beside its id and its fingerprint: its length, and four places in the table that finds it, a quarter of them filled. */
const WORDS = 5;
const PLACES = 4;

/** A blob of an earlier backup of a stream. */
export interface KnownChunk {
  readonly id: Uint8Array;
  readonly length: number;
  readonly fingerprint: Uint8Array;
}

/**
 * The blobs of an earlier backup of a stream in their order, in memory that the threads share: 68 bytes each. Where a stream goes on as
 * it did then, it is cut as it was then, without a search for cuts, and named as it was then, without a hash.
 */
export class KnownChunks {
  readonly shared: SharedArrayBuffer;
  readonly count: number;
  readonly #lengths: Uint32Array;
  /** Chunk + 1 by its fingerprint, at the place that this says or the next free one; 0 is free. The first of equal ones alone. */
  readonly #table: Uint32Array;
  readonly #bytes: Buffer;

  private constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.count = shared.byteLength / (4 * WORDS + ID_BYTES + FINGERPRINT_BYTES);
    this.#lengths = new Uint32Array(shared, 0, this.count);
    this.#table = new Uint32Array(shared, 4 * this.count, PLACES * this.count);
    this.#bytes = Buffer.from(shared, 4 * WORDS * this.count);
  }

  /** `chunkAt` is asked for each of `count` chunks once. */
  static of(count: number, chunkAt: (chunk: number) => KnownChunk): KnownChunks {
    const shared = new SharedArrayBuffer(count * (4 * WORDS + ID_BYTES + FINGERPRINT_BYTES));
    const known = new KnownChunks(shared);
    for (let i = 0; i < count; i++) {
      const { id, length, fingerprint } = chunkAt(i);
      known.#lengths[i] = length;
      known.#bytes.set(id, i * ID_BYTES);
      known.#bytes.set(fingerprint, known.#fingerprintAt(i));
      const place = known.#placeOf(known.fingerprintOf(i));
      if (known.#table[place] === 0) known.#table[place] = i + 1;
    }
    return known;
  }

  static open(shared: SharedArrayBuffer): KnownChunks {
    return new KnownChunks(shared);
  }

  /** Bytes. */
  lengthOf(chunk: number): number {
    return this.#lengths[chunk] ?? 0;
  }

  idOf(chunk: number): Buffer {
    return this.#bytes.subarray(chunk * ID_BYTES, (chunk + 1) * ID_BYTES);
  }

  fingerprintOf(chunk: number): Buffer {
    const at = this.#fingerprintAt(chunk);
    return this.#bytes.subarray(at, at + FINGERPRINT_BYTES);
  }

  /** A chunk with this fingerprint: `expected` if it is one, else the first; -1 where there is none. */
  find(fingerprint: Buffer, expected: number): number {
    if (this.count === 0) return -1;
    if (expected < this.count && this.fingerprintOf(expected).equals(fingerprint)) return expected;
    return (this.#table[this.#placeOf(fingerprint)] ?? 0) - 1;
  }

  /** Where the table has this fingerprint, or would have it. */
  #placeOf(fingerprint: Buffer): number {
    const places = this.#table.length;
    for (let place = fingerprint.readUInt32LE() % places; ; place = (place + 1) % places) {
      const chunk = (this.#table[place] ?? 0) - 1;
      if (chunk < 0 || this.fingerprintOf(chunk).equals(fingerprint)) return place;
    }
  }

  #fingerprintAt(chunk: number): number {
    return this.count * ID_BYTES + chunk * FINGERPRINT_BYTES;
  }
}
