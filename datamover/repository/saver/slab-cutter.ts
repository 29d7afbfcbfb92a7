import { Fingerprinter } from '../crypto/fingerprint.ts';
import { instantiate, type Core } from '../wasm/core.ts';
import { CELL_BYTES, MAX_CHUNK, MIN_CHUNK, type Arena } from './arena.ts';
import type { Control } from './control.ts';
import { KnownChunks } from './known-chunks.ts';
import type { KnownStart, ReaderStart } from './messages.ts';

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
  readonly #known: KnownStream | undefined;

  constructor(arena: Arena, control: Control, cut: ReaderStart['cut']) {
    this.#arena = arena;
    this.#control = control;
    this.#cut = cut;
    this.#core = instantiate(arena.memory);
    this.#bytes = Buffer.from(arena.memory.buffer);
    if (cut.kind === 'content') {
      this.#core.rabinInit(BigInt(`0x${cut.polynomial}`));
      if (cut.known !== undefined) this.#known = new KnownStream(cut.known);
    }
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
    while (this.#cutOne());
  }

  /** False where more of the stream has to come first. */
  #cutOne(): boolean {
    const there = this.#end - this.#from;
    const length = this.#known?.nextLength ?? 0;
    if (length > 0) {
      if (there < length) return false;
      const chunk = this.#known?.expect(this.#bytes.subarray(this.#from, this.#from + length)) ?? -1;
      if (chunk >= 0) {
        this.#push(this.#from + length, chunk);
        return true;
      }
    }
    // Scanning waits until there is something to win: a cut is never nearer than the minimum.
    const cut = there >= this.#least ? this.#nextCut() : 0;
    if (cut !== 0) this.#push(cut, this.#lookFor(cut));
    return cut !== 0;
  }

  /** The known chunk that ends at `cut`, wherever it was in the stream before; -1 for none. */
  #lookFor(cut: number): number {
    return this.#known?.find(this.#bytes.subarray(this.#from, cut)) ?? -1;
  }

  /** The stream is complete: what is left is the last blob. */
  end(): void {
    // A chunk that was expected will not come any more: what is there has cuts of its own.
    do this.#known?.expectNothing();
    while (this.#cutOne());
    if (this.#end > this.#from) this.#push(this.#end, this.#lookFor(this.#end));
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

  #push(cut: number, known: number): void {
    this.#control.push({
      address: this.#from,
      length: cut - this.#from,
      slab: this.#slab,
      sequence: this.#sequence++,
      known,
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

/**
 * Follows a stream along an earlier backup of it. A cut depends on nothing but the bytes since the cut before, so where the next
 * bytes are those of the next chunk, it ends where that one ended. The last chunk ended with the stream: it proves no cut.
 */
class KnownStream {
  readonly #chunks: KnownChunks;
  readonly #fingerprints: Fingerprinter;
  /** The chunk that comes next if nothing has changed; -1 where the stream has left what is known. */
  #next = 0;
  /** The last chunk that was met or expected: of equal ones the next is meant. */
  #last = -1;

  constructor({ chunks, key }: KnownStart) {
    this.#chunks = KnownChunks.open(chunks);
    this.#fingerprints = new Fingerprinter(key);
  }

  /** Bytes of the chunk that may come next; 0 where nothing is expected. */
  get nextLength(): number {
    return this.#next >= 0 && this.#next < this.#chunks.count - 1 ? this.#chunks.lengthOf(this.#next) : 0;
  }

  /** Whether these bytes are the chunk that comes next; if not, nothing is expected until one is found. */
  expect(bytes: Uint8Array): number {
    const chunk = this.#next;
    const same = this.#fingerprints.of(bytes).equals(this.#chunks.fingerprintOf(chunk));
    this.#next = same ? chunk + 1 : -1;
    this.#last = chunk;
    return same ? chunk : -1;
  }

  expectNothing(): void {
    this.#next = -1;
  }

  find(bytes: Uint8Array): number {
    const chunk = this.#chunks.find(this.#fingerprints.of(bytes), this.#last + 1);
    this.#next = chunk < 0 ? -1 : chunk + 1;
    if (chunk >= 0) this.#last = chunk;
    return chunk;
  }
}
