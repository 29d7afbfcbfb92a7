import { hash } from 'node:crypto';
import { hashTogether, Sha256, type HashJob } from '../crypto/sha256.ts';
import { Compressor, decompressesTo } from '../compression.ts';
import type { SharedIndex } from '../memory-index.ts';
import type { Core } from '../wasm/core.ts';
import type { Control } from './control.ts';
import type { PackSlot } from './pack-slot.ts';

const SAMPLE_BYTES = 32 << 10;

/** Where a blob lies in the shared memory. */
export interface Blob {
  readonly address: number;
  readonly length: number;
}

export interface Identified {
  readonly id: Buffer;
  readonly zero: boolean;
}

/** What a worker does with each blob: hash it, and if the repository lacks it, compress it and add it to the pack. */
export class BlobWork {
  readonly #bytes: Buffer;
  readonly #core: Core;
  readonly #control: Control;
  readonly #index: SharedIndex;
  readonly #level: number | undefined;
  readonly #compressor: Compressor;
  /** Whether the last blob did not shrink. */
  #random = false;
  /** Ids of all-zero blobs by their length: they are hashed once. */
  readonly #zeros = new Map<number, Buffer>();

  /** `level`: of zstd; undefined stores every blob plain. `longest`: bytes of the longest blob. */
  constructor(
    memory: WebAssembly.Memory,
    core: Core,
    control: Control,
    index: SharedIndex,
    level: number | undefined,
    longest: number,
  ) {
    this.#compressor = new Compressor(longest);
    this.#bytes = Buffer.from(memory.buffer);
    this.#core = core;
    this.#control = control;
    this.#index = index;
    this.#level = level;
  }

  /** The blobs' ids and which of them are all zero. What the pack's own hash has not taken yet goes along with them. */
  identify(blobs: readonly Blob[], pack: PackSlot): Identified[] {
    const jobs: HashJob[] = [];
    const identified = blobs.map(({ address, length }) => {
      if (this.isZero(address, length)) return { id: this.#zeroId(address, length), zero: true };
      const job = { hash: new Sha256(), bytes: this.#bytes.subarray(address, address + length) };
      jobs.push(job);
      return { hash: job.hash, zero: false };
    });
    if (jobs.length > 0 && pack.isOpen) jobs.push(pack.unhashed());
    hashTogether(jobs);
    return identified.map(({ hash: own, id, zero }) => ({ id: id ?? own.digest(), zero }));
  }

  #zeroId(address: number, length: number): Buffer {
    let id = this.#zeros.get(length);
    if (id === undefined) {
      id = hash('sha256', this.#bytes.subarray(address, address + length), 'buffer');
      this.#zeros.set(length, id);
    }
    return id;
  }

  /** Whether a new backup may name the blob without storing it. */
  isLive(id: Uint8Array): boolean {
    return this.#index.isLive('data', id);
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
      this.#level === undefined || this.#looksRandom(plain)
        ? undefined
        : this.#compressor.compress(plain, this.#level);
    // What hardly shrinks is stored plain: it restores without zstd.
    const worthwhile = packed !== undefined && isWorthwhile(packed, plain);
    this.#random = !worthwhile;
    if (worthwhile) this.#prove(packed, name, plain);
    const stored = worthwhile ? pack.add(name, packed, length) : pack.add(name, plain, 0);
    this.#control.count('stored', stored);
  }

  /** After a blob that did not shrink, a sample of the next one tells whether to try: random data comes in long runs. */
  #looksRandom(plain: Buffer): boolean {
    if (!this.#random || plain.length < 4 * SAMPLE_BYTES) return false;
    const from = plain.length >>> 1;
    const sample = plain.subarray(from, from + SAMPLE_BYTES);
    return !isWorthwhile(this.#compressor.compress(sample, 1), sample);
  }

  #prove(packed: Buffer, name: string, plain: Buffer): void {
    if (!decompressesTo(packed, name, plain))
      throw new Error(
        'a blob did not decompress to what was compressed: this machine computes or remembers wrongly',
      );
  }

  /** Whether every byte is zero. */
  isZero(address: number, length: number): boolean {
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
