import { Refusal } from '../refusal.ts';
import { PayloadRule, type StreamPart } from './payload-rule.ts';
import { HEADER_BYTES } from './record.ts';

/** Bytes that are handed on at once: for a pipe, calls cost more than memory from here on. */
const CHUNK_BYTES = 1 << 20;

/**
 * Puts a send stream together from the two files that it lies in. Their chunks are only read until the next is asked for; the
 * chunks that come out are the reader's. The last one comes only when both files have been used up.
 * @throws Refusal where they do not fit each other.
 */
export async function* joinedStream(
  records: AsyncIterable<Uint8Array>,
  blocks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const rule = new PayloadRule();
  const parts = { records: new Part('records', records), blocks: new Part('blocks', blocks) };
  let chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let fill = 0;
  try {
    while (await parts.records.hasMore()) {
      // A header lies in one piece.
      if (CHUNK_BYTES - fill < HEADER_BYTES) {
        yield chunk.subarray(0, fill);
        chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
        fill = 0;
      }
      await parts.records.read(chunk, fill, fill + HEADER_BYTES);
      const { part, bytes } = rule.next(chunk, fill);
      fill += HEADER_BYTES;
      for (let rest = bytes; rest > 0;) {
        if (fill === CHUNK_BYTES) {
          yield chunk;
          chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
          fill = 0;
        }
        const end = Math.min(CHUNK_BYTES, fill + rest);
        await parts[part].read(chunk, fill, end);
        rest -= end - fill;
        fill = end;
      }
    }
    if (await parts.blocks.hasMore()) throw new Refusal('its file blocks has more than its records name');
    if (fill > 0) yield chunk.subarray(0, fill);
  } finally {
    await Promise.all([parts.records.end(), parts.blocks.end()]);
  }
}

/** One of the files, as it comes. */
class Part {
  readonly #name: StreamPart;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();
  #at = 0;

  constructor(name: StreamPart, chunks: AsyncIterable<Uint8Array>) {
    this.#name = name;
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async hasMore(): Promise<boolean> {
    while (this.#at === this.#chunk.length) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
      this.#at = 0;
    }
    return true;
  }

  async read(into: Uint8Array, from: number, end: number): Promise<void> {
    for (let at = from; at < end;) {
      if (this.#at === this.#chunk.length && !(await this.hasMore()))
        throw new Refusal(`its file ${this.#name} ends before the last record`);
      const piece = this.#chunk.subarray(this.#at, this.#at + end - at);
      into.set(piece, at);
      this.#at += piece.length;
      at += piece.length;
    }
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }
}
