import type { SaveCounters, SaveOptions } from '../repository/saver/saver.ts';

/** What a transfer has done so far. All amounts are bytes of the volume, but `storedBytes`: bytes in the store. */
export interface Progress {
  readonly phase: 'scanning' | 'transferring' | 'finishing' | 'verifying';
  /** Of the image; of a storage's stream what it is expected to have; unknown of a pipe. */
  readonly totalBytes?: number;
  readonly doneBytes: number;
  readonly readBytes: number;
  readonly newBytes: number;
  readonly deduplicatedBytes: number;
  readonly zeroBytes: number;
  readonly storedBytes: number;
  /** What is kept of the base and was stored anew, since a prune had marked it; absent where there is none. */
  readonly storedAgainBytes?: number;
  /** What of a restored volume was read back and compared; absent before that begins. */
  readonly verifiedBytes?: number;
  readonly seconds: number;
}

export interface TransferOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly workers?: number;
}

/** A save that may keep what its base has. */
export interface KeepingOptions extends Omit<SaveOptions, 'onBlobs'> {
  /** Told of the bytes of every blob of the base that is stored anew. */
  readonly onStoredAgain?: (bytes: number) => void;
}

/** How often a transfer reports. */
export const PROGRESS_INTERVAL_MS = 200;

/** What is known of the amount before all of it is read. */
export interface KnownBytes {
  readonly totalBytes?: number;
  readonly holeBytes?: number;
  /** In place of `totalBytes`: it may turn out to be more or less. */
  readonly estimateBytes?: number | undefined;
}

export function progressOf(
  phase: Progress['phase'],
  counters: SaveCounters,
  started: number,
  known: KnownBytes = {},
): Progress {
  const holes = known.holeBytes ?? 0;
  const done = counters.read + holes;
  // More than was expected is the new expectation, and in the end the amount is known.
  const expected = phase === 'finishing' ? done : Math.max(known.estimateBytes ?? 0, done);
  const total = known.totalBytes ?? (known.estimateBytes === undefined ? undefined : expected);
  return {
    phase,
    ...(total === undefined ? {} : { totalBytes: total }),
    doneBytes: done,
    readBytes: counters.read,
    newBytes: counters.fresh,
    deduplicatedBytes: counters.duplicate,
    zeroBytes: counters.zero + holes,
    storedBytes: counters.stored,
    seconds: (performance.now() - started) / 1000,
  };
}
