import type { MessagePort } from 'node:worker_threads';
import { DatamoverError } from '../../errors.ts';
import { widenPipe } from '../../process/pipe-capacity.ts';
import type { SharedIndexHandle } from '../memory-index.ts';
import type { MasterKey, Pack } from '../types.ts';
import { leave } from '../wasm/core.ts';
import { layoutArena, SEALED_CELL_BYTES, type Arena, type ArenaNeeds } from './arena.ts';
import { BaseCells, type BaseCell } from './base-cells.ts';
import { Control } from './control.ts';
import type {
  BlobBatch,
  FeederMessage,
  FeederStart,
  ReaderMessage,
  ReaderStart,
  StreamInput,
  WorkerMessage,
  WorkerStart,
} from './messages.ts';
import type { FinishedPack } from './pack-slot.ts';
import { ThreadGroup } from './threads.ts';

export const WORKER_SCRIPT = new URL('./worker-thread.js', import.meta.url);
export const READER_SCRIPT = new URL('./reader-thread.js', import.meta.url);

/** What the saver needs of a repository. */
export interface PackSink {
  readonly key: MasterKey;
  readonly polynomial: string;
  /** For the workers' deduplication; a claim made in it counts for every thread. */
  shareIndex(): SharedIndexHandle;
  /** Stores a finished pack and adds its blobs to the index. `content` is free for reuse once this resolves. */
  storePack(pack: Pack, content: Uint8Array, signal: AbortSignal): Promise<void>;
  /** How many packs may be on their way to the store at once. */
  readonly uploads: number;
}

export interface SaveOptions {
  /** Of zstd; undefined stores plain. */
  readonly level: number | undefined;
  readonly signal?: AbortSignal;
  /** Every blob of the input once, in no promised order, after it is claimed and before its pack is stored. */
  readonly onBlobs: (batch: BlobBatch) => void;
  readonly workers?: number;
  /** Packs on their way to the store at once, if fewer than the input and the store allow; each is in memory. */
  readonly uploads?: number;
}

/** Bytes so far; live while the save runs. */
export interface SaveCounters {
  readonly read: number;
  readonly fresh: number;
  readonly duplicate: number;
  readonly zero: number;
  /** Bytes of new blobs as they lie in packs: compressed and encrypted. */
  readonly stored: number;
}

export interface Save {
  counters(): SaveCounters;
  /** Resolves when every blob is in a pack and every pack is stored. */
  readonly finished: Promise<{ readonly packs: number; readonly bytes: number; readonly blobs: number }>;
}

/**
 * A thread of the caller's that reads a stream before it is cut by its content: it may refuse it, and put parts of it into a file
 * beside it (SideFile). See ReaderStart.
 */
export interface StreamWatch {
  readonly script: URL;
  /** For the thread, as ReaderStart.data. */
  readonly data: unknown;
  readonly onNote: (note: unknown) => void;
}

/** A thread of the caller's that makes cells out of an input, with a CellFeeder. */
export interface CellFeed {
  readonly script: URL;
  readonly input: StreamInput;
  /** For the thread, as FeederStart.data. */
  readonly data: unknown;
  /** Whether few cells are to be expected, and a base completes them: the thread then does a worker's work beside its own. */
  readonly helps: boolean;
  /** Finds what the base has of a cell that the thread knows in parts, and puts it into `room`, of SEALED_CELL_BYTES. */
  readonly findBase: (cell: number, room: Uint8Array) => Promise<BaseCell>;
  /** The error of a backup whose base has this cell, but nobody can read it. */
  readonly spoiledBase: (cell: number, cause: unknown) => Error;
  readonly onNote: (note: unknown) => void;
}

/** More uploads at once gain little, and each holds a pack in memory: the more slabs there are, and the larger packs may be, the fewer. */
const MAX_UPLOADS = { cells: 4, grid: 4, fed: 3, content: 2, watched: 2 } as const;
/** What a worker has to know of the blobs of each input. */
const BLOBS = { cells: 'cell', grid: 'cell', fed: 'cell', content: 'chunk', watched: 'unmarked' } as const;

/** What is handed over to the thread that reads. */
function portsOf(input: StreamInput): MessagePort[] {
  return input.kind === 'port' ? [input.port] : [];
}

/** One save: its shared memory, its threads, and the packs on their way to the store. */
export class SaveJob {
  readonly control = new Control();
  readonly #sink: PackSink;
  readonly #options: SaveOptions;
  readonly #arena: Arena;
  readonly #workers: number;
  /** Whether the feeding thread is one more that makes packs. */
  readonly #helps: boolean;
  readonly #threads: ThreadGroup;
  readonly #blobKind: WorkerStart['blobs'];
  readonly #uploads = new Set<Promise<void>>();
  readonly #cancelUploads = new AbortController();
  readonly #bytes: Buffer;
  #packs = 0;
  /** Blobs that workers have told of. */
  #blobs = 0;

  /** `makers`: threads that make packs; of a feeding thread that helps the last one is that. */
  constructor(
    sink: PackSink,
    options: SaveOptions,
    makers: number,
    input: ArenaNeeds['input'],
    { helps }: { readonly helps: boolean } = { helps: false },
  ) {
    this.#sink = sink;
    this.#options = options;
    this.#workers = helps ? makers - 1 : makers;
    this.#helps = helps;
    this.#blobKind = BLOBS[input];
    this.#arena = layoutArena({
      workers: makers,
      packSlots:
        makers + Math.max(1, Math.min(MAX_UPLOADS[input], sink.uploads, options.uploads ?? Infinity)),
      input,
    });
    this.#bytes = Buffer.from(this.#arena.memory.buffer);
    this.#threads = new ThreadGroup(() => this.control.stop());
  }

  startWorkers(more: Pick<WorkerStart, 'grid' | 'known'> = {}): void {
    for (let number = 0; number < this.#workers; number++) {
      const start: WorkerStart = { ...this.#workerStart(number), ...more };
      this.#threads.start<WorkerMessage>(WORKER_SCRIPT, start, (message) => this.#onWorkerMessage(message));
    }
  }

  #workerStart(number: number): WorkerStart {
    return {
      number,
      arena: this.#arena,
      control: this.control.handle,
      index: this.#sink.shareIndex(),
      key: this.#sink.key,
      level: this.#options.level,
      blobs: this.#blobKind,
    };
  }

  /** The answer gives the stream's totals once it has ended. */
  startReader(
    input: StreamInput,
    cut: ReaderStart['cut'],
    watch?: StreamWatch,
  ): () => { bytes: number; blobs: number } {
    const data = watch?.data;
    const start: ReaderStart = { arena: this.#arena, control: this.control.handle, input, cut, data };
    const script = watch?.script ?? READER_SCRIPT;
    let totals = { bytes: 0, blobs: 0 };
    const onMessage = (message: Exclude<ReaderMessage, { kind: 'failed' }>): void => {
      if (message.kind === 'producer') this.#endWithUs(message.pid);
      else if (message.kind === 'note') watch?.onNote(message.note);
      else totals = message;
    };
    this.#threads.start<ReaderMessage>(script, start, onMessage, portsOf(input));
    if (input.kind === 'fd') widenPipe(input.fd);
    return () => totals;
  }

  startFeeder(feed: CellFeed): () => { bytes: number; blobs: number } {
    const { script, input, data } = feed;
    const bases = BaseCells.forSlabs(this.#arena.slabs.length);
    const start: FeederStart = {
      arena: this.#arena,
      control: this.control.handle,
      input,
      bases: bases.shared,
      key: this.#sink.key,
      data,
      ...(this.#helps && { helper: this.#workerStart(this.#workers) }),
    };
    let totals = { bytes: 0, blobs: 0 };
    const onMessage = (message: Exclude<FeederMessage, { kind: 'failed' }>): void => {
      if (message.kind === 'producer') this.#endWithUs(message.pid);
      else if (message.kind === 'note') feed.onNote(message.note);
      else if (message.kind === 'incomplete') void this.#findBase(message, feed, bases);
      else if (message.kind === 'spoiled') this.#threads.fail(feed.spoiledBase(message.cell, message.cause));
      else if (message.kind === 'blobs' || message.kind === 'pack') this.#onWorkerMessage(message);
      else totals = message;
    };
    this.#threads.start<FeederMessage>(script, start, onMessage, portsOf(input));
    if (input.kind === 'fd') widenPipe(input.fd);
    return () => totals;
  }

  /** Never rejects: a base that cannot be had fails the whole job. */
  async #findBase(
    { cell, slab }: Extract<FeederMessage, { kind: 'incomplete' }>,
    { findBase, spoiledBase }: CellFeed,
    bases: BaseCells,
  ): Promise<void> {
    const at = this.#arena.bases[slab] ?? 0;
    try {
      bases.put(slab, await findBase(cell, this.#bytes.subarray(at, at + SEALED_CELL_BYTES)));
    } catch (error) {
      this.#threads.fail(spoiledBase(cell, error));
    }
  }

  /** A process that is ended at once takes its producer along, which may not listen to anything gentler. */
  #endWithUs(pid: number): void {
    const kill = (): void => {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    process.once('exit', kill);
    const forget = (): void => void process.off('exit', kill);
    this.#threads.finished().then(forget, forget);
  }

  run(totals: () => { bytes: number; blobs: number }): Save {
    return {
      counters: () => ({
        read: this.control.counted('read'),
        fresh: this.control.counted('fresh'),
        duplicate: this.control.counted('duplicate'),
        zero: this.control.counted('zero'),
        stored: this.control.counted('stored'),
      }),
      finished: this.#finish(totals),
    };
  }

  async #finish(totals: () => { bytes: number; blobs: number }) {
    const { signal } = this.#options;
    const onAbort = (): void => {
      this.#threads.fail(cancelled());
      // The threads may have ended: then nobody else would.
      this.#cancelUploads.abort();
    };
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#threads.finished();
      await Promise.all(this.#uploads);
      // An upload may have failed after the last thread ended.
      await this.#threads.finished();
    } catch (error) {
      this.#cancelUploads.abort();
      await Promise.all(this.#uploads);
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    leave(this.#arena.memory);
    const { bytes, blobs } = totals();
    if (this.#blobs !== blobs) {
      throw new DatamoverError({
        operation: 'back up',
        cause: `${blobs} blobs were read and ${this.#blobs} came through: a defect, nothing was backed up`,
      });
    }
    return { packs: this.#packs, bytes, blobs };
  }

  #onWorkerMessage(message: Exclude<WorkerMessage, { kind: 'failed' }>): void {
    if (this.#threads.failed) return;
    if (message.kind === 'blobs') {
      this.#blobs += message.places.length;
      this.#options.onBlobs(message);
      return;
    }
    const upload = this.#store(message.pack);
    this.#uploads.add(upload);
    void upload.finally(() => this.#uploads.delete(upload));
  }

  /** Never rejects: a failed upload fails the whole job. */
  async #store({ slot, id, length, blobs }: FinishedPack): Promise<void> {
    const at = this.#arena.packs[slot] ?? 0;
    try {
      await this.#sink.storePack(
        { id, blobs },
        this.#bytes.subarray(at, at + length),
        this.#cancelUploads.signal,
      );
      this.#packs++;
    } catch (error) {
      this.#threads.fail(error);
      this.#cancelUploads.abort();
    } finally {
      this.control.releasePackSlot(slot);
    }
  }
}

function cancelled(): DatamoverError {
  return new DatamoverError({
    operation: 'back up',
    cause: 'stopped on request',
    hint: 'run the same backup again: what was uploaded is not uploaded twice',
    kind: 'cancelled',
  });
}
