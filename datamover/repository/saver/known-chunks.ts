import { FINGERPRINT_BYTES } from '../crypto/fingerprint.ts';

const ID_BYTES = 32;
/** Words of a chunk beside its id and its whole fingerprint: its length, and its fingerprint's first word, by which it is found. */
const WORDS = 2;

/** A blob of an earlier backup of a stream. */
export interface KnownChunk {
  readonly id: Uint8Array;
  readonly length: number;
  readonly fingerprint: Uint8Array;
}

/**
 * The blobs of an earlier backup of a stream in their order, in memory that the threads share: 56 bytes each. Where a stream goes on as
 * it did then, it is cut as it was then, without a search for cuts, and named as it was then, without a hash.
 */
export class KnownChunks {
  readonly shared: SharedArrayBuffer;
  readonly count: number;
  readonly #lengths: Uint32Array;
  readonly #heads: Uint32Array;
  readonly #bytes: Buffer;

  private constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.count = shared.byteLength / (4 * WORDS + ID_BYTES + FINGERPRINT_BYTES);
    this.#lengths = new Uint32Array(shared, 0, this.count);
    this.#heads = new Uint32Array(shared, 4 * this.count, this.count);
    this.#bytes = Buffer.from(shared, 4 * WORDS * this.count);
  }

  static of(chunks: readonly KnownChunk[]): KnownChunks {
    const shared = new SharedArrayBuffer(chunks.length * (4 * WORDS + ID_BYTES + FINGERPRINT_BYTES));
    const known = new KnownChunks(shared);
    chunks.forEach(({ id, length, fingerprint }, i) => {
      known.#lengths[i] = length;
      known.#heads[i] = head(fingerprint);
      known.#bytes.set(id, i * ID_BYTES);
      known.#bytes.set(fingerprint, known.#fingerprintAt(i));
    });
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

  /** The chunk with this fingerprint and length: the first from `from` on, else the first of all; -1 where there is none. */
  find(fingerprint: Buffer, length: number, from: number): number {
    const wanted = head(fingerprint);
    const search = (start: number, end: number): number => {
      for (let at = this.#heads.indexOf(wanted, start); at >= 0 && at < end;) {
        if (this.#lengths[at] === length && this.fingerprintOf(at).equals(fingerprint)) return at;
        at = this.#heads.indexOf(wanted, at + 1);
      }
      return -1;
    };
    const ahead = search(from, this.count);
    return ahead >= 0 ? ahead : search(0, from);
  }

  #fingerprintAt(chunk: number): number {
    return this.count * ID_BYTES + chunk * FINGERPRINT_BYTES;
  }
}

function head(fingerprint: Uint8Array): number {
  return Buffer.from(fingerprint.buffer, fingerprint.byteOffset, 4).readUInt32LE();
}
