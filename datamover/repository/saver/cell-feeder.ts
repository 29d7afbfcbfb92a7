import type { MessagePort } from 'node:worker_threads';
import { DatamoverError } from '../../errors.ts';
import { SEALED_CELL_BYTES, type Arena } from './arena.ts';
import { BaseCells } from './base-cells.ts';
import { BaseReader } from './base-reader.ts';
import { BlobThread } from './blob-thread.ts';
import { Control } from './control.ts';
import type { FeederMessage, FeederStart } from './messages.ts';

interface Waiting {
  readonly slab: number;
  readonly cell: number;
  readonly length: number;
  /** What the base has. */
  readonly missing: readonly Part[];
}

interface Part {
  readonly from: number;
  readonly to: number;
}

/**
 * The side of a thread that makes cells of an image: it asks for the memory of one, fills it, and gives it to the workers,
 * at once or when it is completed from the base, which the main thread finds. As many wait for that as there are slabs. Where it
 * would have to wait itself it does a worker's work: a thread more would cost an increment 35 CPU-ms, and have half a pack of its own.
 */
export class CellFeeder {
  readonly control: Control;
  readonly #arena: Arena;
  readonly #port: MessagePort;
  readonly #bytes: Buffer;
  readonly #bases: BaseCells;
  readonly #reader: BaseReader;
  /** Undefined where the workers do it all. */
  readonly #helper: BlobThread | undefined;
  /** Oldest first. */
  readonly #waiting: Waiting[] = [];
  #slab = -1;
  #taken = false;

  constructor({ arena, control, bases, key, helper }: FeederStart, port: MessagePort) {
    this.control = new Control(control);
    this.#arena = arena;
    this.#port = port;
    this.#bytes = Buffer.from(arena.memory.buffer);
    this.#bases = BaseCells.open(bases);
    this.#reader = new BaseReader(key);
    this.#helper = helper && new BlobThread(helper, port);
  }

  /** The memory of the next cell, with any content; undefined once the job has stopped. One at a time. */
  room(): Buffer | undefined {
    const slab = (this.#slab + 1) % this.#arena.slabs.length;
    // While workers have the slab, what waits for its base is completed: otherwise they would wait for us, and we for them.
    while (this.#isWaiting(slab) || !this.control.isFree(slab)) {
      if (!this.#isAnswered() && this.#help()) continue;
      if (this.#waiting.length === 0) break;
      if (!this.#giveOldest()) return undefined;
    }
    if (!this.control.acquireSlab(slab)) return undefined;
    this.#slab = slab;
    this.#taken = true;
    const at = this.#arena.slabs[slab] ?? 0;
    return this.#bytes.subarray(at, at + this.#arena.slabBytes);
  }

  /** Gives the cell that fills the last room(); `missing` are the parts that the base has. */
  give(cell: number, length: number, missing: readonly Part[]): void {
    const slab = this.#slab;
    this.#taken = false;
    if (missing.length === 0) {
      this.#push({ slab, cell, length, missing });
      return;
    }
    this.#bases.ask(slab);
    this.#waiting.push({ slab, cell, length, missing });
    this.#port.postMessage({ kind: 'incomplete', cell, slab } satisfies FeederMessage);
  }

  /** All cells have been given: waits for those that are not complete, and for the workers where it helps them. */
  end(): void {
    while (this.#waiting.length > 0) {
      if (!this.#isAnswered() && this.#help()) continue;
      if (!this.#giveOldest()) return;
    }
    if (this.#taken) this.control.releaseSlab(this.#slab);
    this.control.endInput();
    asWorker(() => this.#helper?.finish());
  }

  /** Whether the oldest of those that wait can be completed at once. */
  #isAnswered(): boolean {
    const [oldest] = this.#waiting;
    return oldest !== undefined && this.#bases.isAnswered(oldest.slab);
  }

  #help(): boolean {
    return asWorker(() => this.#helper?.help()) === true;
  }

  #isWaiting(slab: number): boolean {
    return this.#waiting.some((cell) => cell.slab === slab);
  }

  /** False once the job has stopped. Throws SpoiledBase. */
  #giveOldest(): boolean {
    const [oldest] = this.#waiting;
    if (oldest === undefined) return true;
    const { slab, cell, missing } = oldest;
    const base = this.#bases.wait(slab, () => this.control.stopped);
    if (base === undefined) return false;
    const room = this.#arena.bases[slab] ?? 0;
    const plain = this.#reader.read(cell, base, this.#bytes.subarray(room, room + SEALED_CELL_BYTES));
    const at = this.#arena.slabs[slab] ?? 0;
    for (const { from, to } of missing) this.#bytes.set(plain.subarray(from, to), at + from);
    this.#waiting.shift();
    this.#push(oldest);
    return true;
  }

  #push({ slab, cell, length }: Waiting): void {
    this.control.push({ address: this.#arena.slabs[slab] ?? 0, length, slab, sequence: cell, known: -1 });
    this.control.releaseSlab(slab);
  }
}

/** What fails there is no fault of the stream. */
function asWorker<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new DatamoverError({ operation: 'back up', cause });
  }
}
