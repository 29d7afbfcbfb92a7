import { DatamoverError } from '../../errors.ts';
import { DiffEncoder } from './diff-encoder.ts';

/** Ceph allocates no smaller pieces, and discards none. */
const GRAIN = 64 << 10;
/** librbd refuses to discard 2 GiB at once. */
const MAX_ZEROS = 1 << 30;
const ZEROS = Buffer.alloc(GRAIN);

/**
 * Says an image, given in order, as a full diff of version 1, which `rbd import-diff` makes an image of that size and content of,
 * whatever the image had before: runs of zeros are said too, for an image that is not empty.
 */
export class FullDiff {
  readonly #imageBytes: number;
  readonly #emit: (bytes: Uint8Array) => Promise<void>;
  #parts: Uint8Array[] = [];
  readonly #encoder = new DiffEncoder((bytes) => this.#parts.push(bytes));
  #at = 0;
  /** Zeros from here to `#at` have not been said yet. */
  #zeroFrom = 0;

  /** `emit` resolves when the bytes may be reused. `toSnap`: of which snap the diff says to be. */
  constructor(imageBytes: number, emit: (bytes: Uint8Array) => Promise<void>, toSnap?: string) {
    this.#imageBytes = imageBytes;
    this.#emit = emit;
    this.#encoder.begin({ version: 1, bytes: imageBytes, ...(toSnap !== undefined && { toSnap }) });
  }

  async write(bytes: Uint8Array): Promise<void> {
    const start = this.#at;
    for (const { from, to } of dataRuns(bytes)) {
      this.#at = start + from;
      this.#sayZeros();
      this.#encoder.write(this.#at, to - from);
      this.#encoder.data(this.#at, bytes.subarray(from, to));
      this.#zeroFrom = start + to;
    }
    this.#at = start + bytes.length;
    await this.#flush();
  }

  /** All of the image came: what is not said would be zeros. */
  async end(): Promise<void> {
    if (this.#at !== this.#imageBytes) {
      throw new DatamoverError({
        operation: 'make a full diff of an image',
        subject: `${this.#imageBytes} bytes`,
        cause: `it ended after ${this.#at} bytes`,
        hint: 'try again; look at what rbd export says of the image',
      });
    }
    this.#sayZeros();
    this.#encoder.end();
    await this.#flush();
  }

  #sayZeros(): void {
    for (let from = this.#zeroFrom; from < this.#at; from += MAX_ZEROS)
      this.#encoder.zero(from, Math.min(MAX_ZEROS, this.#at - from));
    this.#zeroFrom = this.#at;
  }

  async #flush(): Promise<void> {
    const parts = this.#parts;
    this.#parts = [];
    for (const part of parts) await this.#emit(part);
  }
}

/** The parts that are not zero, in grains. */
export function* dataRuns(bytes: Uint8Array): Generator<{ readonly from: number; readonly to: number }> {
  for (let from = 0; from < bytes.length;) {
    const zero = isZero(grain(bytes, from));
    let to = from;
    while (to < bytes.length && isZero(grain(bytes, to)) === zero) to += grain(bytes, to).length;
    if (!zero) yield { from, to };
    from = to;
  }
}

function grain(bytes: Uint8Array, from: number): Uint8Array {
  return bytes.subarray(from, Math.min(from + GRAIN, bytes.length));
}

function isZero(bytes: Uint8Array): boolean {
  return ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
}
