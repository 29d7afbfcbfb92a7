import { moduleIn, sharedMemory, wholePages } from '../../process/webassembly.ts';

/** What assembly/ exports. Addresses and lengths are bytes in the memory that the instance was made with. */
export interface Core {
  /** Fills the chunker's tables (the memory's first 64 KiB are theirs) for a polynomial of degree 53. */
  rabinInit(polynomial: bigint): void;
  /** First cut in (from, to], or 0. The 64 bytes before `from` must be readable. */
  rabinFind(from: number, to: number, mask: bigint): number;
  /** Bytes from the start known to be zero: a multiple of 64. */
  zeroPrefix(at: number, length: number): number;
}

/** The first bytes of every memory belong to the chunker's tables. */
export const RESERVED = 65536;

const start = moduleIn(new URL('./core.wasm', import.meta.url));

/** An instance on this memory. Instances keep nothing in the memory but the chunker's tables, so threads may share it. */
export function instantiate(memory: WebAssembly.Memory): Core {
  return start(memory) as unknown as Core;
}

/** A shared memory of at least `bytes` beyond the reserved part. */
export function allocate(bytes: number): WebAssembly.Memory {
  return sharedMemory(RESERVED + bytes);
}

let left: WeakRef<WebAssembly.Memory> | undefined;

/**
 * A job is over, and none of its threads lives: the next one may take its memory. It is kept from no collection, which for such
 * memory comes late: jobs one after the other would each have their own for a while.
 */
export function leave(memory: WebAssembly.Memory): void {
  left = new WeakRef(memory);
}

/** The memory that a job has left, with whatever is in it, if it has this size; else a new one. */
export function allocateAgain(bytes: number): WebAssembly.Memory {
  const memory = left?.deref();
  const isFitting = memory?.buffer.byteLength === wholePages(RESERVED + bytes);
  if (memory === undefined || !isFitting) return allocate(bytes);
  left = undefined;
  return memory;
}
