import { CELL_BYTES } from './arena.ts';

/** A run of cells that must be read: the cell number it starts at and how many. */
export interface CellRun {
  readonly first: number;
  readonly count: number;
}

/**
 * The cells of an image that a backup reads, in ascending order, as plain numbers in shared memory: (first cell, cells
 * before this run) per run. Workers claim positions 0, 1, 2… and find the cell by bisection, so a sparse image of any size
 * costs 16 bytes a run.
 */
export class CellList {
  readonly shared: SharedArrayBuffer;
  readonly #runs: Float64Array;
  readonly total: number;

  private constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#runs = new Float64Array(shared);
    this.total = this.#runs[this.#runs.length - 1] ?? 0;
  }

  static of(runs: readonly CellRun[]): CellList {
    const shared = new SharedArrayBuffer((runs.length * 2 + 2) * 8);
    const words = new Float64Array(shared);
    let before = 0;
    runs.forEach((run, i) => {
      words[i * 2] = run.first;
      words[i * 2 + 1] = before;
      before += run.count;
    });
    words[runs.length * 2] = 0;
    words[runs.length * 2 + 1] = before;
    return new CellList(shared);
  }

  static open(shared: SharedArrayBuffer): CellList {
    return new CellList(shared);
  }

  /** The cell number at this position, 0 <= position < total. */
  at(position: number): number {
    let low = 0;
    let high = this.#runs.length / 2 - 1;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#runs[middle * 2 + 1] ?? 0) <= position) low = middle;
      else high = middle;
    }
    return (this.#runs[low * 2] ?? 0) + position - (this.#runs[low * 2 + 1] ?? 0);
  }
}

/** Bytes of a cell of an image: all are CELL_BYTES long but the last may be shorter. */
export function cellLength(cell: number, imageBytes: number): number {
  return Math.min(CELL_BYTES, imageBytes - cell * CELL_BYTES);
}

export function cellCount(imageBytes: number): number {
  return Math.ceil(imageBytes / CELL_BYTES);
}
