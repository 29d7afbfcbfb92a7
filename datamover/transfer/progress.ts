import type { SaveCounters } from '../repository/saver/saver.ts';

/** What a transfer has done so far. All amounts are bytes of the volume, but `storedBytes`: bytes in the store. */
export interface Progress {
  readonly phase: 'scanning' | 'transferring' | 'finishing';
  /** Unknown for a stream. */
  readonly totalBytes?: number;
  readonly doneBytes: number;
  readonly readBytes: number;
  readonly newBytes: number;
  readonly deduplicatedBytes: number;
  readonly zeroBytes: number;
  readonly storedBytes: number;
  readonly seconds: number;
}

export interface TransferOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly workers?: number;
}

/** How often a transfer reports. */
export const PROGRESS_INTERVAL_MS = 200;

export function progressOf(
  phase: Progress['phase'],
  counters: SaveCounters,
  started: number,
  known: { readonly totalBytes?: number; readonly holeBytes?: number } = {},
): Progress {
  const holes = known.holeBytes ?? 0;
  return {
    phase,
    ...(known.totalBytes === undefined ? {} : { totalBytes: known.totalBytes }),
    doneBytes: counters.read + holes,
    readBytes: counters.read,
    newBytes: counters.fresh,
    deduplicatedBytes: counters.duplicate,
    zeroBytes: counters.zero + holes,
    storedBytes: counters.stored,
    seconds: (performance.now() - started) / 1000,
  };
}
