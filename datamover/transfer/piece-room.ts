/** What of a blob is handed on at once. */
export const PIECE_BYTES = 32 << 10;

/** restic's longest blob. */
const GROWTH_BYTES = 8 << 20;

/**
 * Memory for blobs in pieces, taken once: buffers of half a MiB to eight that come and go between small ones that stay leave a
 * heap of three times what is in use.
 */
export class PieceRoom {
  readonly #free: Uint8Array[] = [];
  readonly #memories: ArrayBuffer[] = [];

  constructor(bytes: number) {
    this.#add(bytes);
  }

  /** Undefined where there is not enough left. */
  take(bytes: number): Uint8Array[] | undefined {
    const count = Math.ceil(bytes / PIECE_BYTES);
    return count > this.#free.length ? undefined : this.#free.splice(this.#free.length - count);
  }

  /** Pieces that others have to give before so many bytes can be taken. */
  missing(bytes: number): number {
    return Math.max(0, Math.ceil(bytes / PIECE_BYTES) - this.#free.length);
  }

  give(pieces: readonly Uint8Array[]): void {
    this.#free.push(...pieces);
  }

  /** For who cannot wait until others give theirs. */
  grow(): void {
    this.#add(GROWTH_BYTES);
  }

  /** Its pieces must not be used any more. The collection of so large a buffer may come late. */
  close(): void {
    for (const memory of this.#memories) memory.transfer(0);
  }

  #add(bytes: number): void {
    const count = Math.floor(bytes / PIECE_BYTES);
    // What is never needed is never touched, and takes no RAM.
    const memory = Buffer.allocUnsafeSlow(count * PIECE_BYTES);
    this.#memories.push(memory.buffer);
    for (let i = count - 1; i >= 0; i--)
      this.#free.push(memory.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES));
  }
}
