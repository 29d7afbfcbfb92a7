import { CELL_BYTES } from '../repository/saver/saver.ts';

/** Takes pieces of the length that is asked for from chunks of any. */
export class ChunkReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();
  #buffer = Buffer.alloc(CELL_BYTES);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Valid until the next read; undefined where the chunks end before. */
  async read(length: number): Promise<Uint8Array | undefined> {
    if (this.#chunk.length >= length) return this.#take(length);
    if (this.#buffer.length < length) this.#buffer = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      if (this.#chunk.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) return undefined;
        this.#chunk = next.value;
      }
      const piece = this.#take(Math.min(length - done, this.#chunk.length));
      this.#buffer.set(piece, done);
      done += piece.length;
    }
    return this.#buffer.subarray(0, length);
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }

  #take(length: number): Uint8Array {
    const piece = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    return piece;
  }
}
