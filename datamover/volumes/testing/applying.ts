import type { CellSink, TouchedCell } from '../image-patch.ts';

interface Change {
  readonly index: number;
  readonly count: number;
  /** Undefined for freed cells. */
  readonly cell?: TouchedCell;
}

/** Keeps what a patch says, and makes the new image of the base with it. */
export class Changes implements CellSink {
  readonly list: Change[] = [];
  readonly #cellBytes: number;
  #rooms = 0;

  constructor(cellBytes: number) {
    this.#cellBytes = cellBytes;
  }

  room(): Uint8Array {
    // Never zero at the start, so that what nobody writes is seen.
    return new Uint8Array(this.#cellBytes).fill(0xa0 + (this.#rooms++ % 64));
  }

  cell(cell: TouchedCell): void {
    this.list.push({ index: cell.index, count: 1, cell });
  }

  freed(first: number, count: number): void {
    this.list.push({ index: first, count });
  }

  apply(base: Uint8Array, imageBytes: number): Buffer {
    const image = Buffer.alloc(imageBytes);
    image.set(base.subarray(0, imageBytes));
    let next = 0;
    for (const { index, count, cell } of this.list) {
      if (index < next) throw new Error(`cell ${index} after cell ${next - 1}`);
      next = index + count;
      const at = index * this.#cellBytes;
      if (cell === undefined) {
        image.fill(0, at, at + count * this.#cellBytes);
        continue;
      }
      const bytes = Buffer.from(cell.bytes.subarray(0, cell.length));
      if (at + cell.length > imageBytes) throw new Error(`cell ${index} is beyond the image`);
      if (at + cell.length < Math.min(at + this.#cellBytes, imageBytes))
        throw new Error(`cell ${index} is short`);
      for (const { from, to } of cell.missing) {
        if (at + to > base.length) throw new Error(`the base has no bytes ${at + from} to ${at + to}`);
        bytes.set(base.subarray(at + from, at + to), from);
      }
      image.set(bytes, at);
    }
    return image;
  }
}
