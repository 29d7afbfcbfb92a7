import fc from 'fast-check';
import { DiffEncoder } from '../diff-encoder.ts';
import type { DiffHandler, DiffHeader } from '../diff-format.ts';

export interface Extent {
  readonly offset: number;
  readonly length: number;
  /** Without it the extent is one of zeros. */
  readonly data?: Uint8Array;
}

/** A diff as a plain value. */
export interface Diff {
  readonly header: DiffHeader;
  readonly extents: readonly Extent[];
}

const snapName = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' });

/** Any diff that Ceph could have written, with small payloads; sizes and offsets reach beyond 2^32. */
export function diffs(version: fc.Arbitrary<1 | 2> = fc.constantFrom(1, 2)): fc.Arbitrary<Diff> {
  const piece = fc.record({
    gap: fc.oneof(fc.nat(3), fc.nat(2 ** 40)),
    length: fc.oneof(fc.nat(40), fc.nat(2 ** 33)),
    data: fc.option(fc.uint8Array({ maxLength: 40 })),
  });
  return fc
    .record({
      version,
      fromSnap: fc.option(snapName),
      toSnap: fc.option(snapName),
      isProtected: fc.option(fc.boolean()),
      pieces: fc.array(piece, { maxLength: 8 }),
      tail: fc.nat(2 ** 34),
    })
    .map(({ version, fromSnap, toSnap, isProtected, pieces, tail }) => {
      const extents: Extent[] = [];
      let end = 0;
      for (const { gap, length, data } of pieces) {
        const bytes = data?.length ?? length;
        extents.push({ offset: end + gap, length: bytes, ...(data === null ? {} : { data }) });
        end += gap + bytes;
      }
      const header: DiffHeader = {
        version,
        bytes: end + tail,
        ...(fromSnap === null ? {} : { fromSnap }),
        ...(toSnap === null ? {} : { toSnap }),
        ...(version === 2 && toSnap !== null && isProtected !== null ? { protected: isProtected } : {}),
      };
      return { header, extents };
    });
}

/** Tells a handler of a diff. */
export function play({ header, extents }: Diff, handler: DiffHandler): void {
  handler.begin(header);
  for (const { offset, length, data } of extents) {
    if (data === undefined) {
      handler.zero(offset, length);
    } else {
      handler.write(offset, length);
      if (length > 0) handler.data(offset, data);
    }
  }
  handler.end();
}

/** The diff's stream, and which of its bytes are payload. */
export function encode(diff: Diff): { stream: Buffer; payload: readonly boolean[] } {
  const parts: Uint8Array[] = [];
  const payload: boolean[] = [];
  const datas = new Set(diff.extents.map(({ data }) => data));
  play(
    diff,
    new DiffEncoder((bytes) => {
      parts.push(bytes);
      payload.push(...Array.from(bytes, () => datas.has(bytes)));
    }),
  );
  return { stream: Buffer.concat(parts), payload };
}

/** Writes down what a stream told, as a value to compare with. */
export class Recorder implements DiffHandler {
  header: DiffHeader | undefined;
  readonly extents: { offset: number; length: number; data?: Uint8Array }[] = [];
  ended = false;
  #parts: Uint8Array[] = [];

  begin(header: DiffHeader): void {
    this.header = header;
  }

  write(offset: number, length: number): void {
    this.#close();
    this.extents.push({ offset, length, data: new Uint8Array() });
  }

  data(offset: number, bytes: Uint8Array): void {
    const extent = this.extents.at(-1);
    const done = this.#parts.reduce((sum, part) => sum + part.length, 0);
    if (extent?.data === undefined || offset !== extent.offset + done)
      throw new Error(`${bytes.length} bytes at ${offset} do not continue the extent`);
    this.#parts.push(Uint8Array.from(bytes));
  }

  zero(offset: number, length: number): void {
    this.#close();
    this.extents.push({ offset, length });
  }

  end(): void {
    this.#close();
    this.ended = true;
  }

  get diff(): Diff {
    if (this.header === undefined || !this.ended) throw new Error('the diff is not complete');
    return { header: this.header, extents: this.extents };
  }

  #close(): void {
    const extent = this.extents.at(-1);
    if (extent?.data === undefined) return;
    if (this.#parts.length > 0) extent.data = Uint8Array.from(Buffer.concat(this.#parts));
    this.#parts = [];
    if (extent.data.length !== extent.length)
      throw new Error(`${extent.data.length} bytes in an extent of ${extent.length}`);
  }
}

/** Divides a stream at random places; also into chunks of one byte. */
export function cut(stream: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1);
    chunks.push(stream.subarray(at, at + size));
    at += size;
  }
  return chunks;
}
