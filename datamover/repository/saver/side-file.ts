import { CELL_BYTES, SIDE_PLACES, type Arena } from './arena.ts';
import type { Control } from './control.ts';

/**
 * A second file of a watched stream: small parts that the watching thread keeps apart, copied together and cut every CELL_BYTES. Its
 * blobs go to the same workers, at places from SIDE_PLACES on.
 */
export class SideFile {
  readonly #arena: Arena;
  readonly #control: Control;
  readonly #memory: Uint8Array;
  #slab = -1;
  #isOpen = false;
  #fill = 0;
  #blobs = 0;
  #bytes = 0;

  constructor(arena: Arena, control: Control) {
    this.#arena = arena;
    this.#control = control;
    this.#memory = new Uint8Array(arena.memory.buffer);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get blobs(): number {
    return this.#blobs;
  }

  /** Copies the bytes behind those before; sleeps while the workers have all slabs. Does nothing once the job has stopped. */
  add(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      if (!this.#isOpen && !this.#open()) return;
      const piece = bytes.subarray(from, from + CELL_BYTES - this.#fill);
      this.#memory.set(piece, this.#address + this.#fill);
      this.#fill += piece.length;
      from += piece.length;
      if (this.#fill === CELL_BYTES) this.#push();
    }
    this.#bytes += bytes.length;
    this.#control.count('read', bytes.length);
  }

  /** What is left is the last blob. */
  end(): void {
    if (this.#isOpen) this.#push();
  }

  get #address(): number {
    return this.#arena.side[this.#slab] ?? 0;
  }

  /** The stream's own slabs have the first numbers. */
  get #number(): number {
    return this.#arena.slabs.length + this.#slab;
  }

  #open(): boolean {
    this.#slab = (this.#slab + 1) % this.#arena.side.length;
    if (!this.#control.acquireSlab(this.#number)) return false;
    this.#isOpen = true;
    this.#fill = 0;
    return true;
  }

  #push(): void {
    this.#control.push({
      address: this.#address,
      length: this.#fill,
      slab: this.#number,
      sequence: SIDE_PLACES + this.#blobs++,
      known: -1,
    });
    this.#control.releaseSlab(this.#number);
    this.#isOpen = false;
  }
}
