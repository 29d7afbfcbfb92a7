import { moduleIn } from '../../../process/webassembly.ts';

/** How many lanes go side by side. */
export const LANES = 3;

/**
 * What assembly/ exports. `state` and `other` are addresses of `LANES` states of 128 r bytes, `table` of as many tables of n of them, in
 * the memory that the instance was made with. Steps are even numbers.
 */
export interface Core {
  /** Steps `from` to `to` of scryptROMix's first loop (RFC 7914 section 5, step 2). */
  fill(state: number, other: number, table: number, n: number, r: number, from: number, to: number): void;
  /** So many steps of its second loop (step 3). */
  mix(state: number, other: number, table: number, n: number, r: number, steps: number): void;
}

const start = moduleIn(new URL('./core.wasm', import.meta.url));

/** Throws where WebAssembly has no vectors. */
export function instantiate(memory: WebAssembly.Memory): Core {
  return start(memory) as unknown as Core;
}
