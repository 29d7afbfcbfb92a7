import { BlobDecoder } from '../blob-decoder.ts';
import { BlobProof } from '../blob-proof.ts';
import type { MasterKey } from '../types.ts';
import { CELL_BYTES } from './arena.ts';
import type { BaseCell } from './base-cells.ts';

/** Why a cell of the base cannot be read; the main thread knows how to say it. */
export class SpoiledBase extends Error {
  override readonly name = 'SpoiledBase';
  readonly cell: number;

  constructor(cell: number, cause: unknown) {
    super(`the base of cell ${cell} cannot be read`, { cause });
    this.cell = cell;
  }
}

/** Decodes and proves cells of the base, in the thread that completes cells from them. */
export class BaseReader {
  readonly #decoder: BlobDecoder;
  readonly #proof: BlobProof;
  readonly #plain = Buffer.allocUnsafeSlow(CELL_BYTES);

  constructor(key: MasterKey) {
    this.#decoder = new BlobDecoder(key);
    this.#proof = new BlobProof(key);
  }

  /** The cell's bytes, good until the next time. `room` is where it lies, and is spoiled. Throws SpoiledBase. */
  read(cell: number, base: BaseCell, room: Buffer): Buffer {
    if (base.form === 'plain') return room.subarray(0, base.length);
    try {
      const sealed = room.subarray(0, base.sealedLength);
      const plain = this.#decoder.decode(sealed, base.uncompressedLength, this.#plain, 'its blob');
      if (plain.length !== base.length)
        throw new Error(`a blob has ${plain.length} bytes instead of ${base.length}`);
      if (!this.#proof.fits(plain, base.id, base.fingerprint))
        throw new Error('the content does not have the SHA-256 that names it');
      return plain;
    } catch (error) {
      throw new SpoiledBase(cell, error);
    }
  }
}
