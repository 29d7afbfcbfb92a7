import { hash } from 'node:crypto';
import { compress, decompress } from '../compression.ts';
import type { SharedIndex } from '../memory-index.ts';
import type { Core } from '../wasm/core.ts';
import type { Control } from './control.ts';
import { release, type PackSlot } from './pack-slot.ts';

const SAMPLE_BYTES = 32 << 10;

/** What a worker does with each blob: hash it, and if the repository lacks it, compress it and add it to the pack. */
export class BlobWork {
  readonly #bytes: Buffer;
  readonly #core: Core;
  readonly #control: Control;
  readonly #index: SharedIndex;
  readonly #level: number | undefined;
  /** Whether the last blob did not shrink. */
  #random = false;
  /** Ids of all-zero blobs by their length: they are hashed once. */
  readonly #zeros = new Map<number, Buffer>();

  /** `level`: of zstd; undefined stores every blob plain. */
  constructor(
    memory: WebAssembly.Memory,
    core: Core,
    control: Control,
    index: SharedIndex,
    level: number | undefined,
  ) {
    this.#bytes = Buffer.from(memory.buffer);
    this.#core = core;
    this.#control = control;
    this.#index = index;
    this.#level = level;
  }

  /** The blob's id and whether it is all zero. */
  identify(address: number, length: number): { id: Buffer; zero: boolean } {
    if (!this.#isZero(address, length)) {
      return { id: hash('sha256', this.#bytes.subarray(address, address + length), 'buffer'), zero: false };
    }
    let id = this.#zeros.get(length);
    if (id === undefined) {
      id = hash('sha256', this.#bytes.subarray(address, address + length), 'buffer');
      this.#zeros.set(length, id);
    }
    return { id, zero: true };
  }

  /** True if this thread is the one that must store the blob. */
  claim(id: Uint8Array): boolean {
    return this.#index.claim(id);
  }

  /** Compresses the blob and adds it to the pack, each step undone and compared before it counts. */
  store(id: Buffer, address: number, length: number, pack: PackSlot): void {
    const name = id.toString('hex');
    const plain = this.#bytes.subarray(address, address + length);
    const packed =
      this.#level === undefined || this.#looksRandom(plain) ? undefined : compress(plain, this.#level);
    // What hardly shrinks is stored plain: it restores without zstd.
    const worthwhile = packed !== undefined && isWorthwhile(packed, plain);
    this.#random = !worthwhile;
    if (worthwhile) this.#compare(decompress(packed, name, length), plain);
    const stored = worthwhile ? pack.add(name, packed, length) : pack.add(name, plain, 0);
    if (packed !== undefined) release(packed);
    this.#control.count('stored', stored);
  }

  /** After a blob that did not shrink, a sample of the next one tells whether to try: random data comes in long runs. */
  #looksRandom(plain: Buffer): boolean {
    if (!this.#random || plain.length < 4 * SAMPLE_BYTES) return false;
    const from = plain.length >>> 1;
    const sample = plain.subarray(from, from + SAMPLE_BYTES);
    return !isWorthwhile(compress(sample, 1), sample);
  }

  #compare(again: Uint8Array<ArrayBuffer>, plain: Buffer): void {
    const same = plain.compare(again) === 0;
    release(again);
    if (!same)
      throw new Error(
        'a blob did not decompress to what was compressed: this machine computes or remembers wrongly',
      );
  }

  #isZero(address: number, length: number): boolean {
    // Most blobs are not zero and differ in their first bytes.
    if (this.#bytes[address] !== 0) return false;
    const known = this.#core.zeroPrefix(address, length) >>> 0;
    if (known !== (length & ~63)) return false;
    for (let i = known; i < length; i++) if (this.#bytes[address + i] !== 0) return false;
    return true;
  }
}

function isWorthwhile(packed: Uint8Array, plain: Uint8Array): boolean {
  return packed.length < plain.length - (plain.length >>> 6);
}
