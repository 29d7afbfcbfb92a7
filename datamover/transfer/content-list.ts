import { fromBytes } from '../repository/id.ts';
import type { Id } from '../repository/types.ts';

const ID_BYTES = 32;
/** What a place holds before it is set. */
const NO_ID = '0'.repeat(2 * ID_BYTES);

/** The ids of a file's blobs by position, 32 bytes each, filled in any order. */
export class ContentList {
  #ids: Uint8Array;
  #length = 0;

  constructor(expected = 1024) {
    this.#ids = new Uint8Array(expected * ID_BYTES);
  }

  get length(): number {
    return this.#length;
  }

  set(position: number, id: Uint8Array): void {
    const end = (position + 1) * ID_BYTES;
    if (end > this.#ids.length) {
      const larger = new Uint8Array(Math.max(end, this.#ids.length * 2));
      larger.set(this.#ids);
      this.#ids = larger;
    }
    this.#ids.set(id, position * ID_BYTES);
    this.#length = Math.max(this.#length, position + 1);
  }

  at(position: number): Uint8Array {
    return this.#ids.subarray(position * ID_BYTES, (position + 1) * ID_BYTES);
  }

  fill(id: Uint8Array, count: number): void {
    for (let position = 0; position < count; position++) this.set(position, id);
  }

  /** All ids as one run of bytes. */
  get bytes(): Uint8Array {
    return this.#ids.subarray(0, this.#length * ID_BYTES);
  }

  /** @throws Error where a place was never set: a list with a gap must not become a file. */
  ids(): Id[] {
    return Array.from({ length: this.#length }, (_, i) => {
      const id = fromBytes(this.at(i));
      if (id === NO_ID) throw new Error(`no blob came for place ${i}: a defect, nothing was backed up`);
      return id;
    });
  }
}
