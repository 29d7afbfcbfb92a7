import type { MessagePort } from 'node:worker_threads';
import type { SharedIndexHandle } from '../memory-index.ts';
import type { MasterKey } from '../types.ts';
import type { Arena } from './arena.ts';
import type { ControlHandle } from './control.ts';
import type { FinishedPack } from './pack-slot.ts';

/** What every worker is started with. The key goes from memory to memory and is never written anywhere. */
export interface WorkerStart {
  readonly number: number;
  readonly arena: Arena;
  readonly control: ControlHandle;
  readonly index: SharedIndexHandle;
  readonly key: MasterKey;
  /** Of zstd; undefined stores plain (and repositories of version 1 know nothing else). */
  readonly level: number | undefined;
  /** Cells of an image, chunks of a stream, or chunks that nobody wants fingerprints of. */
  readonly blobs: 'cell' | 'chunk' | 'unmarked';
  /** A grid's workers read their cells themselves; a stream's workers take blobs from the queue. */
  readonly grid?: { readonly fd: number; readonly imageBytes: number; readonly cells: SharedArrayBuffer };
  /** What an earlier backup has: KnownCells by their place, KnownChunks by the number that the reader thread found. */
  readonly known?: KnownHandle;
}

/** Memory that the threads share, with ids and fingerprints of an earlier backup's blobs. */
export interface KnownHandle {
  readonly kind: 'cells' | 'chunks';
  readonly shared: SharedArrayBuffer;
}

/** Where a stream comes from: a file descriptor of this process, a StreamProducer in it, or a program to run. */
export type StreamInput =
  | { readonly kind: 'fd'; readonly fd: number }
  /** Handed over to the thread that reads. */
  | { readonly kind: 'port'; readonly port: MessagePort }
  | {
      readonly kind: 'command';
      readonly file: string;
      readonly args: readonly string[];
      /** See Command: for programs that the user named. */
      readonly inheritsSecrets?: boolean;
    };

export interface ReaderStart {
  readonly arena: Arena;
  readonly control: ControlHandle;
  readonly input: StreamInput;
  /** Content-defined cuts need the repository's polynomial; the grid cuts every CELL_BYTES. */
  readonly cut:
    | { readonly kind: 'content'; readonly polynomial: string; readonly known?: KnownStart }
    | { readonly kind: 'grid' };
  /** For a thread of the caller's. */
  readonly data?: unknown;
}

/** KnownChunks, and the key to tell them again. */
export interface KnownStart {
  readonly chunks: SharedArrayBuffer;
  readonly key: MasterKey;
}

/** What a thread that makes cells is started with; `data` is its own. */
export interface FeederStart {
  readonly arena: Arena;
  readonly control: ControlHandle;
  readonly input: StreamInput;
  /** BaseCells: what a cell that the thread knows in parts is completed from. */
  readonly bases: SharedArrayBuffer;
  readonly key: MasterKey;
  /** Where the thread does a worker's work as well. */
  readonly helper?: WorkerStart;
  readonly data: unknown;
}

/**
 * Blobs that a worker has dealt with: for each its place (cell or sequence number), length, id and fingerprint (zeros for a cell of
 * zeros, which needs none), and whether it is all zero.
 */
export interface BlobBatch {
  readonly kind: 'blobs';
  readonly places: Uint32Array;
  readonly lengths: Uint32Array;
  readonly ids: Uint8Array;
  readonly fingerprints: Uint8Array;
  readonly zero: Uint8Array;
}

export type WorkerMessage =
  | BlobBatch
  | { readonly kind: 'pack'; readonly pack: FinishedPack }
  | { readonly kind: 'failed'; readonly operation: string; readonly cause: string };

export type ReaderMessage =
  /** The program that is being read, for as long as the thread lives. */
  | { readonly kind: 'producer'; readonly pid: number }
  /** What a thread of the caller's has to say to whoever started it. */
  | { readonly kind: 'note'; readonly note: unknown }
  | { readonly kind: 'end'; readonly bytes: number; readonly blobs: number }
  | { readonly kind: 'failed'; readonly operation: string; readonly cause: string };

export type FeederMessage =
  | ReaderMessage
  /** Of one that helps. */
  | WorkerMessage
  /** The cell in this slab has parts that are the base's. */
  | { readonly kind: 'incomplete'; readonly cell: number; readonly slab: number }
  /** What the base has of this cell cannot be read. */
  | { readonly kind: 'spoiled'; readonly cell: number; readonly cause: string };
