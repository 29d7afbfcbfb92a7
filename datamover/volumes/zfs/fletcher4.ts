import { sharedMemory } from '../../process/webassembly.ts';
import { instantiate, type Core } from './wasm/core.ts';

/** Memory that a stream's chunks lie in already, and room in it for the checksum's own use. */
export interface ChecksumMemory {
  readonly memory: WebAssembly.Memory;
  /** Address of SCRATCH_BYTES free bytes. */
  readonly scratch: number;
}

/** Bytes outside of the memory go through it in pieces that stay in the L2 cache. */
const PIECE = 64 << 10;
/** A word that two chunks share comes first. */
const PIECES_AT = 64;

export const SCRATCH_BYTES = PIECES_AT + PIECE;

/** Bytes of a record's header; the last 32 are its checksum. */
const HEADER_BYTES = 312;

/**
 * The running fletcher-4 of a send stream. Bytes may come in pieces of any length; those that lie in the memory given are
 * summed in place (about 8 GiB/s), others by way of a small copy.
 */
export class Fletcher4 {
  readonly #core: Core;
  readonly #memory: SharedArrayBuffer;
  readonly #at: number;
  readonly #scratch: Uint8Array;
  readonly #swap: boolean;
  /** Bytes of a word whose rest has not come yet: 0 to 3. */
  #pending = 0;

  constructor(
    bigEndian: boolean,
    place: ChecksumMemory = { memory: sharedMemory(SCRATCH_BYTES), scratch: 0 },
  ) {
    this.#core = instantiate(place.memory);
    this.#memory = place.memory.buffer;
    this.#at = place.scratch;
    this.#scratch = new Uint8Array(this.#memory, place.scratch, SCRATCH_BYTES);
    this.#swap = bigEndian;
    this.#core.reset();
  }

  add(bytes: Uint8Array, from: number, to: number): void {
    if (this.#pending > 0) {
      while (this.#pending < 4 && from < to) this.#scratch[this.#pending++] = bytes[from++] ?? 0;
      if (this.#pending < 4) return;
      this.#core.foldBytes(this.#at, 4, this.#swap);
      this.#pending = 0;
    }
    const whole = from + ((to - from) & ~3);
    if (bytes.buffer === this.#memory) {
      this.#core.foldBytes(bytes.byteOffset + from, whole - from, this.#swap);
    } else {
      for (let at = from; at < whole; at += PIECE) {
        const end = Math.min(at + PIECE, whole);
        this.#core.foldBytes(this.#copied(bytes, at, end), end - at, this.#swap);
      }
    }
    for (let at = whole; at < to; at++) this.#scratch[this.#pending++] = bytes[at] ?? 0;
  }

  /** Adds a whole header; whether the checksum that it carries is right. */
  addHeader(bytes: Uint8Array, from: number): boolean {
    return this.#core.foldHeader(this.#address(bytes, from, HEADER_BYTES), this.#swap) !== 0;
  }

  /** Whether the 32 bytes at `from` are the sums so far. */
  matches(bytes: Uint8Array, from: number): boolean {
    return this.#core.matches(this.#address(bytes, from, 32), this.#swap) !== 0;
  }

  /** Writes the sums so far, 32 bytes. */
  put(bytes: Uint8Array, at: number): void {
    this.#core.put(this.#at + PIECES_AT, this.#swap);
    bytes.set(this.#scratch.subarray(PIECES_AT, PIECES_AT + 32), at);
  }

  #address(bytes: Uint8Array, from: number, length: number): number {
    return bytes.buffer === this.#memory ? bytes.byteOffset + from : this.#copied(bytes, from, from + length);
  }

  #copied(bytes: Uint8Array, from: number, to: number): number {
    this.#scratch.set(bytes.subarray(from, to), PIECES_AT);
    return this.#at + PIECES_AT;
  }
}
