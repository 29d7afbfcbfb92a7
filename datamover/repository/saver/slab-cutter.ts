import { instantiate, type Core } from '../wasm/core.ts';
import { CELL_BYTES, MAX_CHUNK, MIN_CHUNK, type Arena } from './arena.ts';
import type { Control } from './control.ts';
import type { ReaderStart } from './messages.ts';

/** A cut where the low 20 bits of the fingerprint are zero: blobs of 1 MiB on average beyond the minimum. */
const CUT_MASK = (1n << 20n) - 1n;

/**
 * Puts a stream into slabs of the arena and its blobs into the queue. The caller fills `space()` and says `filled(n)`; a
 * blob that is not yet complete at the end of a slab moves to the next one.
 */
export class SlabCutter {
  readonly #arena: Arena;
  readonly #control: Control;
  readonly #core: Core;
  readonly #bytes: Buffer;
  readonly #cut: ReaderStart['cut'];
  #slab = 0;
  #used = false;
  /** The first byte that belongs to no blob yet, and the end of what has been filled. */
  #from = 0;
  #end = 0;
  /** No cut in (from, scanned]: a scan need not look there again. */
  #scanned = 0;
  #sequence = 0;
  #total = 0;

  constructor(arena: Arena, control: Control, cut: ReaderStart['cut']) {
    this.#arena = arena;
    this.#control = control;
    this.#cut = cut;
    this.#core = instantiate(arena.memory);
    this.#bytes = Buffer.from(arena.memory.buffer);
    if (cut.kind === 'content') this.#core.rabinInit(BigInt(`0x${cut.polynomial}`));
  }

  get blobs(): number {
    return this.#sequence;
  }

  get bytes(): number {
    return this.#total;
  }

  /** Free memory in the current slab, never empty; undefined once the job has stopped. */
  space(): Buffer | undefined {
    if (this.#control.stopped) return undefined;
    if (!this.#used && !this.#openSlab(0)) return undefined;
    if (this.#end === this.#slabEnd && !this.#nextSlab()) return undefined;
    return this.#bytes.subarray(this.#end, this.#slabEnd);
  }

  /** `count` bytes of the last space() are there now. */
  filled(count: number): void {
    this.#end += count;
    this.#total += count;
    this.#control.count('read', count);
    // Scanning waits until there is something to win: a cut is never nearer than the minimum.
    while (this.#end - this.#from >= this.#least) {
      const cut = this.#nextCut();
      if (cut === 0) break;
      this.#push(cut);
    }
  }

  /** The stream is complete: what is left is the last blob. */
  end(): void {
    if (this.#end > this.#from) this.#push(this.#end);
    if (this.#used) this.#control.releaseSlab(this.#slab);
    this.#control.endInput();
  }

  get #slabEnd(): number {
    return (this.#arena.slabs[this.#slab] ?? 0) + this.#arena.slabBytes;
  }

  get #least(): number {
    return this.#cut.kind === 'grid' ? CELL_BYTES : MIN_CHUNK;
  }

  #nextCut(): number {
    if (this.#cut.kind === 'grid') return this.#end - this.#from >= CELL_BYTES ? this.#from + CELL_BYTES : 0;
    const limit = Math.min(this.#from + MAX_CHUNK, this.#end);
    const scanFrom = Math.max(this.#from + MIN_CHUNK - 1, this.#scanned);
    const cut = scanFrom < limit ? this.#core.rabinFind(scanFrom, limit, CUT_MASK) >>> 0 : 0;
    if (cut !== 0) return cut;
    this.#scanned = limit;
    return limit - this.#from === MAX_CHUNK ? limit : 0;
  }

  #push(cut: number): void {
    this.#control.push({
      address: this.#from,
      length: cut - this.#from,
      slab: this.#slab,
      sequence: this.#sequence++,
    });
    this.#from = cut;
    this.#scanned = cut;
  }

  #openSlab(slab: number): boolean {
    if (!this.#control.acquireSlab(slab)) return false;
    this.#slab = slab;
    this.#used = true;
    this.#from = this.#end = this.#scanned = this.#arena.slabs[slab] ?? 0;
    return true;
  }

  #nextSlab(): boolean {
    const previous = this.#slab;
    const rest = this.#from;
    const restBytes = this.#end - rest;
    const scannedBytes = this.#scanned - rest;
    if (!this.#openSlab((previous + 1) % this.#arena.slabs.length)) return false;
    this.#bytes.copyWithin(this.#end, rest, rest + restBytes);
    this.#control.releaseSlab(previous);
    this.#end += restBytes;
    this.#scanned = this.#from + Math.max(0, scannedBytes);
    return true;
  }
}
