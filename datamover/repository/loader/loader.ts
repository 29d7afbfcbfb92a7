import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { DatamoverError } from '../../errors.ts';
import { SEAL_OVERHEAD } from '../crypto/cipher.ts';
import type { MasterKey } from '../types.ts';
import { allocate, RESERVED } from '../wasm/core.ts';
import type { DecodeReply, DecodeRequest, DecoderStart } from './decode-thread.ts';
import type { PackRead } from './read-plan.ts';

/** What the loader needs of a repository. */
export interface PackSource {
  readonly key: MasterKey;
  /** Fills `into` with a range of a pack. */
  loadPackRange(pack: string, offset: number, into: Uint8Array, signal: AbortSignal): Promise<void>;
  /** How many ranges may be asked for at once. */
  readonly downloads: number;
}

export interface LoadOptions {
  readonly signal?: AbortSignal;
  readonly workers?: number;
  /** Deliver in the order of the reads (a pipe) or as they come (a file). */
  readonly ordered: boolean;
  /**
   * Takes what a read decoded to: its blobs one after the other. The memory is reused once the promise settles.
   * At most one call at a time where `ordered`.
   */
  readonly deliver: (read: PackRead, plain: Uint8Array) => Promise<void>;
}

/** The longest range and the longest output of one read: a blob of restic has at most 8 MiB. */
export const LARGEST_READ = 8 * (1 << 20) + (64 << 10);
/** What planReads() is best asked to join: beyond it requests gain nothing and memory is lost. */
export const READ_LIMITS = { bytes: 4 << 20, gap: 128 << 10 } as const;

const MAX_WORKERS = 4;
const SLOTS_PER_WORKER = 3;

/**
 * Fetches, checks and decodes ranges of packs in several threads and hands the plain bytes over. Rejects with the first
 * failure, after everything has stopped; bytes that fail a check are never delivered.
 */
export async function loadReads(
  source: PackSource,
  reads: Iterable<PackRead> | AsyncIterable<PackRead>,
  options: LoadOptions,
): Promise<void> {
  const pool = new DecoderPool(source, options);
  try {
    pool.start();
    await pool.run(reads);
  } finally {
    await pool.close();
  }
}

interface Slot {
  readonly number: number;
  readonly input: number;
  readonly output: number;
}

class DecoderPool {
  readonly #source: PackSource;
  readonly #options: LoadOptions;
  readonly #memory: WebAssembly.Memory;
  readonly #bytes: Buffer;
  readonly #free: Slot[] = [];
  readonly #workerCount: number;
  readonly #workers: Worker[] = [];
  readonly #exits: Promise<void>[] = [];
  readonly #waiting = new Map<number, (reply: DecodeReply) => void>();
  readonly #stop = new AbortController();
  #wakeFeeder: (() => void) | undefined;
  #failure: unknown;
  #nextWorker = 0;

  constructor(source: PackSource, options: LoadOptions) {
    this.#source = source;
    this.#options = options;
    const workers = options.workers ?? Math.min(MAX_WORKERS, availableParallelism());
    const slots = Math.max(workers * SLOTS_PER_WORKER, source.downloads + workers);
    this.#memory = allocate(slots * 2 * LARGEST_READ);
    this.#bytes = Buffer.from(this.#memory.buffer);
    let next = RESERVED;
    this.#workerCount = workers;
    for (let number = 0; number < slots; number++, next += 2 * LARGEST_READ) {
      this.#free.push({ number, input: next, output: next + LARGEST_READ });
    }
    // The slot that was used last is used next: its pages are there already.
    this.#free.reverse();
  }

  /** If one cannot start, `close` ends those that did. */
  start(): void {
    while (this.#workers.length < this.#workerCount) this.#startWorker();
  }

  async run(reads: Iterable<PackRead> | AsyncIterable<PackRead>): Promise<void> {
    const { signal } = this.#options;
    const onAbort = (): void => this.#fail(cancelled());
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const running = new Set<Promise<void>>();
    let previous = Promise.resolve();
    try {
      for await (const read of reads) {
        const slot = await this.#takeSlot();
        if (slot === undefined) break;
        const decoded = this.#decode(read, slot);
        const delivered = this.#deliver(read, slot, decoded, this.#options.ordered ? previous : undefined);
        previous = delivered;
        running.add(delivered);
        void delivered.finally(() => running.delete(delivered));
      }
    } catch (error) {
      // The plan of the reads failed: what is under way ends before that is told.
      this.#fail(error);
    }
    await Promise.all(running);
    signal?.removeEventListener('abort', onAbort);
    if (this.#stop.signal.aborted) throw this.#failure;
  }

  async close(): Promise<void> {
    for (const worker of this.#workers) worker.postMessage('end');
    await Promise.all(this.#exits);
  }

  #startWorker(): void {
    const start: DecoderStart = { memory: this.#memory, key: this.#source.key };
    const worker = new Worker(new URL('./decode-thread.js', import.meta.url), {
      workerData: start,
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    worker.on('message', (reply: DecodeReply) => this.#waiting.get(reply.slot)?.(reply));
    worker.on('error', (error) => this.#lose(error));
    this.#exits.push(
      new Promise((resolve) => {
        worker.once('exit', (code) => {
          if (code !== 0 || this.#waiting.size > 0) this.#lose(new Error(`a thread ended with code ${code}`));
          resolve();
        });
      }),
    );
    this.#workers.push(worker);
  }

  /** A thread has died: whoever waits for its answer waits no more. */
  #lose(reason: unknown): void {
    this.#fail(reason);
    for (const [slot, settle] of this.#waiting) settle({ slot });
  }

  /** Fetches and decodes; true if the plain bytes may be delivered. Never rejects: a failure stops the pool. */
  async #decode(read: PackRead, slot: Slot): Promise<boolean> {
    try {
      // Lengths come from index files: one that does not fit a slot must not reach into the next.
      if (Math.max(read.length, read.plainBytes) > LARGEST_READ) throw tooLong(read);
      const short = read.blobs.find(({ location }) => location.length < SEAL_OVERHEAD);
      if (short !== undefined) {
        throw damaged(read.pack, {
          id: short.id,
          cause: `the index gives it ${short.location.length} bytes`,
        });
      }
      const into = this.#bytes.subarray(slot.input, slot.input + read.length);
      await this.#source.loadPackRange(read.pack, read.offset, into, this.#stop.signal);
      if (this.#stop.signal.aborted) return false;
      const reply = await this.#ask(read, slot);
      if (reply.damaged) throw damaged(read.pack, reply.damaged);
      return !this.#stop.signal.aborted;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  #ask(read: PackRead, slot: Slot): Promise<DecodeReply> {
    const request: DecodeRequest = {
      slot: slot.number,
      input: slot.input,
      output: slot.output,
      blobs: read.blobs.map(({ id, location }) => ({
        id,
        at: location.offset - read.offset,
        length: location.length,
        uncompressedLength: location.uncompressedLength,
      })),
    };
    return new Promise((resolve) => {
      this.#waiting.set(slot.number, (reply) => {
        this.#waiting.delete(slot.number);
        resolve(reply);
      });
      this.#workers[this.#nextWorker++ % this.#workers.length]?.postMessage(request);
    });
  }

  async #deliver(read: PackRead, slot: Slot, decoded: Promise<boolean>, after: Promise<void> | undefined) {
    const good = await decoded;
    await after;
    try {
      if (good && !this.#stop.signal.aborted) {
        await this.#options.deliver(read, this.#bytes.subarray(slot.output, slot.output + read.plainBytes));
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#free.push(slot);
    this.#wakeFeeder?.();
  }

  /** Undefined once the pool has failed. */
  async #takeSlot(): Promise<Slot | undefined> {
    while (!this.#stop.signal.aborted) {
      const slot = this.#free.pop();
      if (slot) return slot;
      await new Promise<void>((resolve) => {
        this.#wakeFeeder = resolve;
      });
    }
    return undefined;
  }

  #fail(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    this.#failure = error;
    this.#stop.abort();
    this.#wakeFeeder?.();
  }
}

function damaged(pack: string, { id, cause }: { id: string; cause: string }): DatamoverError {
  return new DatamoverError({
    operation: 'read blob',
    subject: `${id.slice(0, 12)} of pack ${pack.slice(0, 12)}`,
    cause,
    hint: 'run check --read-data to see how much is damaged; other backups may hold the same data intact',
    kind: 'incomplete',
  });
}

function tooLong({ pack, blobs, plainBytes }: PackRead): DatamoverError {
  return new DatamoverError({
    operation: 'read blob',
    subject: `${(blobs[0]?.id ?? '').slice(0, 12)} of pack ${pack.slice(0, 12)}`,
    cause: `the index gives it ${plainBytes} bytes, and no blob of restic's format has more than 8 MiB`,
    hint: 'run check',
    kind: 'incomplete',
  });
}

export function cancelled(): DatamoverError {
  return new DatamoverError({ operation: 'restore', cause: 'stopped on request', kind: 'cancelled' });
}
