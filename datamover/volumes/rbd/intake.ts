const NOTHING: Buffer = Buffer.alloc(0);

/**
 * Hands out the parts of a stream that arrives in chunks of any size. Parts that lie in one chunk are views of it; only a field
 * that chunks divide is copied together.
 */
export class Intake {
  #chunk = NOTHING;
  #at = 0;
  /** Bytes of the stream before `#chunk`. */
  #before = 0;
  #held: Buffer = Buffer.alloc(64);
  #filled = 0;

  /** Gives the next chunk, once the one before is used up (`take` and `some` have found no more). */
  load(chunk: Uint8Array): void {
    this.#before += this.#chunk.length;
    this.#chunk = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#at = 0;
  }

  /** Offset in the stream of the next byte that nobody has looked at. */
  get position(): number {
    return this.#before + this.#at;
  }

  /** The next `length` bytes; undefined until they are all there, then ask again for the same. Valid until the next call. */
  take(length: number): Buffer | undefined {
    const available = this.#chunk.length - this.#at;
    if (this.#filled === 0 && available >= length) {
      this.#at += length;
      return this.#chunk.subarray(this.#at - length, this.#at);
    }
    if (this.#held.length < length) this.#held = Buffer.concat([this.#held], length);
    const part = Math.min(length - this.#filled, available);
    this.#held.set(this.#chunk.subarray(this.#at, this.#at + part), this.#filled);
    this.#at += part;
    this.#filled += part;
    if (this.#filled < length) return undefined;
    this.#filled = 0;
    return this.#held.subarray(0, length);
  }

  /** What is there of the next `length` bytes, at least one; undefined if there is none. A view of the chunk. */
  some(length: number): Buffer | undefined {
    const part = Math.min(length, this.#chunk.length - this.#at);
    if (part === 0) return undefined;
    this.#at += part;
    return this.#chunk.subarray(this.#at - part, this.#at);
  }
}
