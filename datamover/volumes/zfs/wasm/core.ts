import { moduleIn } from '../../../process/webassembly.ts';

/** What assembly/ exports. Addresses and lengths are bytes in the memory that the instance was made with; the sums are the instance's. */
export interface Core {
  reset(): void;
  /** Adds `length` bytes, a multiple of four; `swap` for streams of the other byte order. */
  foldBytes(at: number, length: number, swap: boolean): void;
  /** Adds the 312 bytes of a record's header; 1 if the checksum in its last 32 is that of everything before it. */
  foldHeader(at: number, swap: boolean): number;
  /** 1 if the 32 bytes at `at` are the sums so far. */
  matches(at: number, swap: boolean): number;
  /** Writes the sums so far as the 32 bytes at `at`. */
  put(at: number, swap: boolean): void;
}

const start = moduleIn(new URL('./core.wasm', import.meta.url));

export function instantiate(memory: WebAssembly.Memory): Core {
  return start(memory) as unknown as Core;
}
