import { readFileSync } from 'node:fs';

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

const PAGE = 65536;

let compiled: WebAssembly.Module | undefined;

export function instantiate(memory: WebAssembly.Memory): Core {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('./core.wasm', import.meta.url)));
  const abort = (): never => {
    throw new Error('core.wasm aborted');
  };
  return new WebAssembly.Instance(compiled, { env: { memory, abort } }).exports as unknown as Core;
}

/** A shared memory of at least this many bytes. */
export function allocate(bytes: number): WebAssembly.Memory {
  const pages = Math.ceil(bytes / PAGE);
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}
