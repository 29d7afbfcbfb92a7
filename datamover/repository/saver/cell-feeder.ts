import type { MessagePort } from 'node:worker_threads';
import type { Arena } from './arena.ts';
import { Control } from './control.ts';
import type { FeederMessage, FeederStart } from './messages.ts';

interface Waiting {
  readonly slab: number;
  readonly cell: number;
  readonly length: number;
}

/**
 * The side of a thread that makes cells of an image: it asks for the memory of one, fills it, and gives it to the workers,
 * at once or when the main thread has completed it from the base. As many wait for that as there are slabs.
 */
export class CellFeeder {
  readonly control: Control;
  readonly #arena: Arena;
  readonly #port: MessagePort;
  readonly #bytes: Buffer;
  readonly #complete: Int32Array;
  /** Oldest first. */
  readonly #waiting: Waiting[] = [];
  #slab = -1;
  #taken = false;

  constructor({ arena, control, complete }: FeederStart, port: MessagePort) {
    this.control = new Control(control);
    this.#arena = arena;
    this.#port = port;
    this.#bytes = Buffer.from(arena.memory.buffer);
    this.#complete = new Int32Array(complete);
  }

  /** The memory of the next cell, with any content; undefined once the job has stopped. One at a time. */
  room(): Buffer | undefined {
    const slab = (this.#slab + 1) % this.#arena.slabs.length;
    while (this.#waiting.some((cell) => cell.slab === slab)) if (!this.#giveOldest()) return undefined;
    if (!this.control.acquireSlab(slab)) return undefined;
    this.#slab = slab;
    this.#taken = true;
    const at = this.#arena.slabs[slab] ?? 0;
    return this.#bytes.subarray(at, at + this.#arena.slabBytes);
  }

  /** Gives the cell that fills the last room(); `missing` are the parts that the base has. */
  give(
    cell: number,
    length: number,
    missing: readonly { readonly from: number; readonly to: number }[],
  ): void {
    const slab = this.#slab;
    this.#taken = false;
    if (missing.length === 0) {
      this.#push({ slab, cell, length });
      return;
    }
    Atomics.store(this.#complete, slab, 0);
    this.#waiting.push({ slab, cell, length });
    const address = this.#arena.slabs[slab] ?? 0;
    this.#port.postMessage({ kind: 'incomplete', cell, slab, address, missing } satisfies FeederMessage);
  }

  /** All cells have been given: waits for those that are not complete. */
  end(): void {
    while (this.#waiting.length > 0) if (!this.#giveOldest()) return;
    if (this.#taken) this.control.releaseSlab(this.#slab);
    this.control.endInput();
  }

  /** False once the job has stopped. */
  #giveOldest(): boolean {
    const [cell] = this.#waiting;
    if (cell === undefined) return true;
    while (Atomics.load(this.#complete, cell.slab) === 0) {
      if (this.control.stopped) return false;
      Atomics.wait(this.#complete, cell.slab, 0, 200);
    }
    this.#waiting.shift();
    this.#push(cell);
    return true;
  }

  #push({ slab, cell, length }: Waiting): void {
    this.control.push({ address: this.#arena.slabs[slab] ?? 0, length, slab, sequence: cell, known: -1 });
    this.control.releaseSlab(slab);
  }
}
