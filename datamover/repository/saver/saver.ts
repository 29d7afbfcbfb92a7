import { availableParallelism } from 'node:os';
import { type CellRun, CellList } from './grid.ts';
import type { KnownCells } from './known-cells.ts';
import type { KnownChunks } from './known-chunks.ts';
import type { StreamInput } from './messages.ts';
import {
  SaveJob,
  WORKER_SCRIPT,
  type CellFeed,
  type PackSink,
  type Save,
  type SaveOptions,
  type StreamWatch,
} from './save-job.ts';
import { warmThread } from './warm-threads.ts';

export { CELL_BYTES, MAX_CHUNK, SIDE_PLACES } from './arena.ts';
export type { BaseCell } from './base-cells.ts';
export { KnownCells, type KnownSpan } from './known-cells.ts';
export { KnownChunks, type KnownChunk } from './known-chunks.ts';
export type { BlobBatch, StreamInput } from './messages.ts';
export type { CellRun } from './grid.ts';
export {
  READER_SCRIPT,
  type CellFeed,
  type PackSink,
  type Save,
  type SaveCounters,
  type SaveOptions,
  type StreamWatch,
} from './save-job.ts';

/** More workers than cores gain nothing; each holds a pack of about 17 MiB. */
const MAX_WORKERS = 4;
/** Cells a worker should have at least: a thread and its own last pack are not worth it for less. */
const CELLS_PER_WORKER = 32;

/**
 * Saves the cells of a file or block device that `runs` name; the workers read them themselves, each its own. Those that `known` has
 * are named again.
 */
export function saveCells(
  sink: PackSink,
  image: { readonly fd: number; readonly imageBytes: number; readonly runs: readonly CellRun[] },
  options: SaveOptions,
  known?: KnownCells,
): Save {
  const cells = CellList.of(image.runs);
  const workers = Math.min(workerCount(options), Math.max(1, Math.ceil(cells.total / CELLS_PER_WORKER)));
  const job = new SaveJob(sink, options, workers, 'cells');
  const grid = { fd: image.fd, imageBytes: image.imageBytes, cells: cells.shared };
  job.startWorkers({ grid, ...(known && { known: { kind: 'cells', shared: known.shared } }) });
  return job.run(() => ({ bytes: job.control.counted('read'), blobs: cells.total }));
}

/** Saves an image that comes as a stream: it is cut on the grid. Cells that `known` has are named again. */
export function saveImageStream(
  sink: PackSink,
  input: StreamInput,
  options: SaveOptions,
  known?: KnownCells,
): Save {
  const job = new SaveJob(sink, options, workerCount(options), 'grid');
  job.startWorkers(known && { known: { kind: 'cells', shared: known.shared } });
  return job.run(job.startReader(input, { kind: 'grid' }));
}

/** Saves any stream, cut by its content (restic's cuts). Where it goes on as in `known`, it is neither searched for cuts nor hashed. */
export function saveStream(
  sink: PackSink,
  input: StreamInput,
  options: SaveOptions,
  known?: KnownChunks,
): Save {
  const { key, polynomial } = sink;
  const job = new SaveJob(sink, options, workerCount(options), 'content');
  job.startWorkers(known && { known: { kind: 'chunks', shared: known.shared } });
  const start = known && { known: { chunks: known.shared, key } };
  return job.run(job.startReader(input, { kind: 'content', polynomial, ...start }));
}

/** Saves a stream that a thread of the caller's watches. */
export function saveWatched(
  sink: PackSink,
  input: StreamInput,
  watch: StreamWatch,
  options: SaveOptions,
): Save {
  const job = new SaveJob(sink, options, workerCount(options), 'watched');
  job.startWorkers();
  return job.run(job.startReader(input, { kind: 'content', polynomial: sink.polynomial }, watch));
}

/** Saves the cells that a feeding thread makes. */
export function saveFed(sink: PackSink, feed: CellFeed, options: SaveOptions): Save {
  const threads = workerCount(options);
  const helps = feed.helps && threads > 1;
  const job = new SaveJob(sink, options, threads, 'fed', { helps });
  job.startWorkers();
  return job.run(job.startFeeder(feed));
}

function workerCount({ workers }: Pick<SaveOptions, 'workers'>): number {
  return workers ?? Math.min(MAX_WORKERS, Math.max(1, availableParallelism()));
}

/**
 * Starts as many workers as the next save takes, unless it is a small one; see warmThread. `helps`: beside a thread that is likely to
 * help them (CellFeed).
 */
export function warmWorkers({ helps }: { readonly helps: boolean } = { helps: false }): void {
  const workers = Math.max(1, workerCount({}) - (helps ? 1 : 0));
  for (let number = 0; number < workers; number++) warmThread(WORKER_SCRIPT);
}
