import type { RawIds } from '../repository/tree.ts';

const ID_BYTES = 32;
/** Places of a part: a long list grows without being copied. */
const PART = 1024;
/** What a place holds before it is set. */
const NO_ID = Buffer.alloc(ID_BYTES);

/** The ids of a file's blobs by position, 32 bytes each, filled in any order. */
export class ContentList implements RawIds {
  readonly #parts: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  set(position: number, id: Uint8Array): void {
    const part = Math.floor(position / PART);
    while (this.#parts.length <= part) this.#parts.push(Buffer.alloc(PART * ID_BYTES));
    this.#parts[part]?.set(id, (position % PART) * ID_BYTES);
    this.#length = Math.max(this.#length, position + 1);
  }

  /** 32 bytes; all zero where nothing was set. */
  at(position: number): Buffer {
    const from = (position % PART) * ID_BYTES;
    return this.#parts[Math.floor(position / PART)]?.subarray(from, from + ID_BYTES) ?? NO_ID;
  }

  fill(id: Uint8Array, count: number): void {
    for (let position = 0; position < count; position++) this.set(position, id);
  }

  /** @throws Error where a place was never set: a list with a gap must not become a file. */
  *[Symbol.iterator](): Generator<Buffer> {
    for (let position = 0; position < this.#length; position++) {
      const id = this.at(position);
      if (id.equals(NO_ID)) {
        throw new Error(`no blob came for place ${position}: a defect, nothing was backed up`);
      }
      yield id;
    }
  }
}
