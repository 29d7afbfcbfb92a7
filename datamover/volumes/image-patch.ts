import { damaged } from './refusal.ts';

/** A part of a cell, in bytes from its start. */
export interface CellRange {
  readonly from: number;
  readonly to: number;
}

/** A cell of the new image that is not the base's. */
export interface TouchedCell {
  readonly index: number;
  /** The memory that room() gave for it; the first `length` bytes count. */
  readonly bytes: Uint8Array;
  /** Shorter than the grid's in the image's last cell alone. */
  readonly length: number;
  /** What is still to come from the same cell of the base, ascending; empty where the cell is complete. The base has all of it. */
  readonly missing: readonly CellRange[];
}

/** Who gets the cells. Cells and freed runs ascend and do not overlap; what neither names is as in the base. */
export interface CellSink {
  /** Memory of one cell, with any content. Asked for when a cell is begun, one at a time. */
  room(): Uint8Array;
  cell(cell: TouchedCell): void;
  /** Whole cells, all of the grid's length, that are zero from here on. */
  freed(first: number, count: number): void;
}

interface OpenCell {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly known: Coverage;
}

/**
 * Turns writes and frees that ascend into the cells they touch. Memory is one cell: a cell is given away when the next is
 * begun. The new image's size is known last (it follows the data in a stream), and only its last cell depends on it.
 */
export class ImagePatch {
  readonly #sink: CellSink;
  readonly #cellBytes: number;
  readonly #baseBytes: number;
  #open: OpenCell | undefined;
  /** Cells below have been given away or are as in the base. */
  #next = 0;
  /** From here on all is zero that is not written later: at first where the base ends. */
  #zeroFrom: number;
  #writtenTo = 0;
  #imageBytes = Infinity;

  /** `baseBytes`: the base's size; 0 for none. */
  constructor(sink: CellSink, cellBytes: number, baseBytes: number) {
    this.#sink = sink;
    this.#cellBytes = cellBytes;
    this.#baseBytes = baseBytes;
    this.#zeroFrom = baseBytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const cell = this.#begin(Math.floor((offset + done) / this.#cellBytes));
      const from = offset + done - cell.index * this.#cellBytes;
      const length = Math.min(bytes.length - done, this.#cellBytes - from);
      cell.bytes.set(bytes.subarray(done, done + length), from);
      cell.known.add(from, from + length);
      done += length;
    }
    this.#writtenTo = Math.max(this.#writtenTo, offset + bytes.length);
  }

  /** Zeros `length` bytes, or all that follows for Infinity. */
  free(offset: number, length: number): void {
    if (length === Infinity) {
      this.#freeTail(offset);
      return;
    }
    // Frees may reach beyond the volume, into what was never there.
    const end = Math.min(offset + length, Math.max(this.#zeroFrom, this.#writtenTo));
    if (offset >= end) return;
    const size = this.#cellBytes;
    const firstWhole = Math.ceil(offset / size);
    const endWhole = Math.floor(end / size);
    if (firstWhole > endWhole) {
      this.#zero(endWhole, offset - endWhole * size, end - endWhole * size);
      return;
    }
    if (offset % size !== 0) this.#zero(firstWhole - 1, offset - (firstWhole - 1) * size, size);
    if (firstWhole < endWhole) this.#freeCells(firstWhole, endWhole);
    if (end % size !== 0) this.#zero(endWhole, 0, end - endWhole * size);
  }

  /** Gives away all that is left, now that the size of the new image is known. */
  finish(imageBytes: number): void {
    const cells = Math.ceil(imageBytes / this.#cellBytes);
    const touched = this.#open === undefined ? this.#next : this.#open.index + 1;
    // Cells that are gone were taken for whole.
    if (this.#writtenTo > imageBytes || touched > cells || this.#next * this.#cellBytes > imageBytes) {
      throw damaged(`it writes beyond the volume's ${imageBytes} bytes`);
    }
    this.#imageBytes = imageBytes;
    // A short last cell has a zero blob of its own, and the base's may have another length: it is given as a cell.
    const last = cells - 1;
    const isShort = imageBytes % this.#cellBytes !== 0;
    const differs = imageBytes !== this.#baseBytes || this.#zeroFrom <= last * this.#cellBytes;
    if (isShort && differs) this.#begin(last);
    this.#advance(cells);
  }

  #freeTail(offset: number): void {
    if (offset >= this.#zeroFrom && offset >= this.#writtenTo) return;
    if (offset < this.#next * this.#cellBytes) throw outOfOrder(offset);
    const open = this.#open;
    if (open !== undefined && offset < (open.index + 1) * this.#cellBytes) {
      this.#zero(open.index, Math.max(0, offset - open.index * this.#cellBytes), this.#cellBytes);
    }
    this.#zeroFrom = Math.min(this.#zeroFrom, offset);
    this.#writtenTo = Math.min(this.#writtenTo, offset);
  }

  #freeCells(first: number, end: number): void {
    if (first < this.#next || (this.#open !== undefined && this.#open.index >= first)) {
      throw outOfOrder(first * this.#cellBytes);
    }
    this.#advance(first);
    this.#sink.freed(first, end - first);
    this.#next = end;
  }

  #zero(index: number, from: number, to: number): void {
    const cell = this.#begin(index);
    cell.bytes.fill(0, from, to);
    cell.known.add(from, to);
  }

  /** The cell, begun unless it is open; those before it are done with. */
  #begin(index: number): OpenCell {
    if (this.#open?.index === index) return this.#open;
    if (index < this.#next || (this.#open !== undefined && index < this.#open.index)) {
      throw outOfOrder(index * this.#cellBytes);
    }
    this.#advance(index);
    const cell = { index, bytes: this.#sink.room(), known: new Coverage() };
    this.#open = cell;
    const zeroFrom = Math.max(0, this.#zeroFrom - index * this.#cellBytes);
    if (zeroFrom < this.#cellBytes) {
      cell.bytes.fill(0, zeroFrom, this.#cellBytes);
      cell.known.add(zeroFrom, this.#cellBytes);
    }
    return cell;
  }

  /** Gives away every cell before `to` that is not as in the base. */
  #advance(to: number): void {
    if (this.#open !== undefined && this.#open.index < to) this.#give(this.#open);
    const boundary = Math.floor(this.#zeroFrom / this.#cellBytes);
    const isCut = this.#zeroFrom % this.#cellBytes !== 0 && this.#zeroFrom < this.#imageBytes;
    if (isCut && this.#next <= boundary && boundary < to) {
      this.#next = boundary;
      this.#give(this.#begin(boundary));
    }
    const first = Math.max(this.#next, Math.ceil(this.#zeroFrom / this.#cellBytes));
    if (first < to) this.#sink.freed(first, to - first);
    this.#next = Math.max(this.#next, to);
  }

  #give({ index, bytes, known }: OpenCell): void {
    const length = Math.min(this.#cellBytes, this.#imageBytes - index * this.#cellBytes);
    this.#open = undefined;
    this.#next = index + 1;
    this.#sink.cell({ index, bytes, length, missing: known.missing(length) });
  }
}

/** Which parts of a cell are known. */
class Coverage {
  /** Ascending, not touching. */
  #ranges: CellRange[] = [];

  add(from: number, to: number): void {
    const last = this.#ranges.at(-1);
    if (last === undefined || from > last.to) {
      this.#ranges.push({ from, to });
      return;
    }
    if (from >= last.from) {
      this.#ranges[this.#ranges.length - 1] = { from: last.from, to: Math.max(last.to, to) };
      return;
    }
    // Behind a later part: frees of the tail come first.
    const before = this.#ranges.filter((range) => range.to < from);
    const after = this.#ranges.filter((range) => range.from > to);
    const merged = this.#ranges.filter((range) => range.to >= from && range.from <= to);
    const start = Math.min(from, merged[0]?.from ?? from);
    this.#ranges = [...before, { from: start, to: Math.max(to, merged.at(-1)?.to ?? to) }, ...after];
  }

  missing(length: number): CellRange[] {
    const gaps: CellRange[] = [];
    let at = 0;
    for (const { from, to } of this.#ranges) {
      if (from > at && at < length) gaps.push({ from: at, to: Math.min(from, length) });
      at = Math.max(at, to);
    }
    if (at < length) gaps.push({ from: at, to: length });
    return gaps;
  }
}

function outOfOrder(offset: number): Error {
  return damaged(`its records do not ascend: byte ${offset} of the volume comes too late`);
}
