import { Refusal } from '../refusal.ts';
import { PayloadRule, type StreamPart } from './payload-rule.ts';
import { HEADER_BYTES } from './record.ts';

/** Bytes that are handed on at once: for a pipe, calls cost more than memory from here on. */
const CHUNK_BYTES = 1 << 20;

/** Chunks that are given are the reader's; those that are lent may only be read until the next is asked for. */
export type ChunkOwner = 'given' | 'lent';

/**
 * Puts a send stream together from the two files that it lies in. Their chunks are only read until the next is asked for. The last
 * chunk comes only when both files have been used up.
 * @throws Refusal where they do not fit each other.
 */
export async function* joinedStream(
  records: AsyncIterable<Uint8Array>,
  blocks: AsyncIterable<Uint8Array>,
  chunks: ChunkOwner = 'given',
  chunkBytes = CHUNK_BYTES,
): AsyncGenerator<Uint8Array> {
  const rule = new PayloadRule();
  const parts = { records: new Part('records', records), blocks: new Part('blocks', blocks) };
  let chunk = newChunk(chunkBytes);
  let fill = 0;
  try {
    while (parts.records.isThere || (await parts.records.hasMore())) {
      // A header lies in one piece.
      if (chunkBytes - fill < HEADER_BYTES) {
        yield chunk.bytes.subarray(0, fill);
        if (chunks === 'given') chunk = newChunk(chunkBytes);
        fill = 0;
      }
      const end = fill + HEADER_BYTES;
      if (!parts.records.take(chunk.bytes, fill, end)) await parts.records.read(chunk.bytes, fill, end);
      const { part, bytes } = rule.next(chunk.view, fill);
      fill = end;
      for (let rest = bytes; rest > 0;) {
        if (fill === chunkBytes) {
          yield chunk.bytes;
          if (chunks === 'given') chunk = newChunk(chunkBytes);
          fill = 0;
        }
        const to = Math.min(chunkBytes, fill + rest);
        const source = parts[part];
        if (!source.take(chunk.bytes, fill, to)) await source.read(chunk.bytes, fill, to);
        rest -= to - fill;
        fill = to;
      }
    }
    if (await parts.blocks.hasMore()) throw new Refusal('its file blocks has more than its records name');
    if (fill > 0) yield chunk.bytes.subarray(0, fill);
  } finally {
    await Promise.all([parts.records.end(), parts.blocks.end()]);
  }
}

interface Chunk {
  readonly bytes: Buffer;
  readonly view: DataView;
}

function newChunk(chunkBytes: number): Chunk {
  const bytes = Buffer.allocUnsafeSlow(chunkBytes);
  return { bytes, view: new DataView(bytes.buffer) };
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

  get isThere(): boolean {
    return this.#at < this.#chunk.length;
  }

  async hasMore(): Promise<boolean> {
    while (!this.isThere) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
      this.#at = 0;
    }
    return true;
  }

  /** Copies what is there already, without waiting: of small records there are a million in a gibibyte. False where it is not enough. */
  take(into: Uint8Array, from: number, end: number): boolean {
    const to = this.#at + end - from;
    if (to > this.#chunk.length) return false;
    into.set(this.#chunk.subarray(this.#at, to), from);
    this.#at = to;
    return true;
  }

  async read(into: Uint8Array, from: number, end: number): Promise<void> {
    for (let at = from; at < end;) {
      if (!(await this.hasMore())) throw new Refusal(`its file ${this.#name} ends before the last record`);
      const piece = Math.min(end - at, this.#chunk.length - this.#at);
      this.take(into, at, at + piece);
      at += piece;
    }
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }
}
