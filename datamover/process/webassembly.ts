import { readFileSync } from 'node:fs';

const PAGE = 65536;

/** Bytes of whole pages: the least memory that has so many. */
export function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE;
}

/** A shared memory of at least so many bytes, zero. Untouched pages cost no RAM. Throws where no such addresses can be had. */
export function sharedMemory(bytes: number): WebAssembly.Memory {
  const pages = wholePages(bytes) / PAGE;
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/**
 * What makes instances of the module in this file: it is compiled once, when the first is wanted. Each works on the memory that it is
 * made with. Throws where this machine lacks the vectors that it uses.
 */
export function moduleIn(file: URL): (memory: WebAssembly.Memory) => Record<string, unknown> {
  let compiled: WebAssembly.Module | undefined;
  const abort = (): never => {
    throw new Error(`${file.pathname} aborted`);
  };
  return (memory) => {
    compiled ??= new WebAssembly.Module(readFileSync(file));
    return new WebAssembly.Instance(compiled, { env: { memory, abort } }).exports;
  };
}
