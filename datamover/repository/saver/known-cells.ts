import { FINGERPRINT_BYTES } from '../crypto/fingerprint.ts';

/** Spans in memory at once: those that are being read, and those that come next. */
const SPANS = 4;
const ID_BYTES = 32;
/** What a place holds that no span is in. */
const FREE = 0;
/** What says that a blob has no fingerprint. */
const NONE = Buffer.alloc(FINGERPRINT_BYTES);

/** What an earlier backup has of a span of cells: for each its id and its fingerprint; zeros where there is none. */
export interface KnownSpan {
  readonly ids: Uint8Array;
  readonly fingerprints: Uint8Array;
}

/**
 * Ids and fingerprints of an earlier backup's cells, in memory that the threads share: a few spans of them, which the main thread
 * puts in before the workers come there and takes out when all of their cells have been told. A cell whose span is not there is hashed.
 */
export class KnownCells {
  readonly shared: SharedArrayBuffer;
  readonly cellsPerSpan: number;
  /** For each place the number of its span + 1; 0 is free. After them the number of cells in a span. */
  readonly #spans: Int32Array;
  readonly #bytes: Buffer;

  private constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#spans = new Int32Array(shared, 0, SPANS + 1);
    this.cellsPerSpan = this.#spans[SPANS] ?? 0;
    this.#bytes = Buffer.from(shared, 4 * (SPANS + 1));
  }

  static create(cellsPerSpan: number): KnownCells {
    const place = cellsPerSpan * (ID_BYTES + FINGERPRINT_BYTES);
    const shared = new SharedArrayBuffer(4 * (SPANS + 1) + SPANS * place);
    new Int32Array(shared)[SPANS] = cellsPerSpan;
    return new KnownCells(shared);
  }

  static open(shared: SharedArrayBuffer): KnownCells {
    return new KnownCells(shared);
  }

  get hasRoom(): boolean {
    return this.#place(FREE) >= 0;
  }

  /** Where there is room. */
  put(span: number, { ids, fingerprints }: KnownSpan): void {
    const place = this.#place(FREE);
    if (place < 0) throw new RangeError('no room for one more span');
    const at = this.#at(place);
    const own = this.#bytes.subarray(at, this.#at(place + 1)).fill(0);
    own.set(ids.subarray(0, this.cellsPerSpan * ID_BYTES));
    own.set(fingerprints.subarray(0, this.cellsPerSpan * FINGERPRINT_BYTES), this.cellsPerSpan * ID_BYTES);
    Atomics.store(this.#spans, place, span + 1);
  }

  /** Only once no worker can look for a cell of it any more. */
  drop(span: number): void {
    const place = this.#place(span + 1);
    if (place >= 0) Atomics.store(this.#spans, place, FREE);
  }

  /** The id of the cell where the earlier backup had one with this fingerprint in its place. */
  find(cell: number, fingerprint: Buffer): Buffer | undefined {
    const span = Math.floor(cell / this.cellsPerSpan);
    const number = cell % this.cellsPerSpan;
    const place = this.#place(span + 1);
    if (place < 0) return undefined;
    const ids = this.#at(place);
    const known = ids + this.cellsPerSpan * ID_BYTES + number * FINGERPRINT_BYTES;
    const found = this.#bytes.subarray(known, known + FINGERPRINT_BYTES);
    if (!found.equals(fingerprint) || found.equals(NONE)) return undefined;
    return this.#bytes.subarray(ids + number * ID_BYTES, ids + (number + 1) * ID_BYTES);
  }

  #place(content: number): number {
    for (let place = 0; place < SPANS; place++)
      if (Atomics.load(this.#spans, place) === content) return place;
    return -1;
  }

  #at(place: number): number {
    return place * this.cellsPerSpan * (ID_BYTES + FINGERPRINT_BYTES);
  }
}
