import type { BackupSession } from '../repository/backup-session.ts';
import type { BlobBatch, Save } from '../repository/saver/saver.ts';
import { ContentList } from './content-list.ts';
import { fingerprintAt, FingerprintList } from './fingerprints.ts';
import {
  progressOf,
  PROGRESS_INTERVAL_MS,
  type KnownBytes,
  type Progress,
  type TransferOptions,
} from './progress.ts';

/** Reports how a volume's bytes are stored: while they are read, and while what is kept of the base is stored anew. */
export class SaveWatch {
  readonly #options: TransferOptions;
  readonly #started: number;
  readonly #known: KnownBytes;
  #save: Save | undefined;
  #storedAgain = 0;
  #reportedAt = -Infinity;

  constructor(options: TransferOptions, started: number, known: KnownBytes = {}) {
    this.#options = options;
    this.#started = started;
    this.#known = known;
  }

  /** Waits for the save; answers its totals. */
  readonly end = async (save: Save) => {
    this.#save = save;
    const timer =
      this.#options.onProgress && setInterval(() => this.#report('transferring'), PROGRESS_INTERVAL_MS);
    try {
      const totals = await save.finished;
      return { ...totals, counters: save.counters() };
    } finally {
      clearInterval(timer);
      this.#report('finishing');
    }
  };

  /** Bytes of a blob that the base has in packs which a prune has marked: hours may pass with nothing else. */
  readonly storedAgain = (bytes: number): void => {
    const first = this.#storedAgain === 0;
    this.#storedAgain += bytes;
    if (first || performance.now() - this.#reportedAt >= PROGRESS_INTERVAL_MS) this.#report('finishing');
  };

  #report(phase: Progress['phase']): void {
    if (this.#save === undefined) return;
    this.#reportedAt = performance.now();
    const progress = progressOf(phase, this.#save.counters(), this.#started, this.#known);
    this.#options.onProgress?.({
      ...progress,
      ...(this.#storedAgain > 0 && { storedAgainBytes: this.#storedAgain }),
    });
  }
}

/** Waits for the save, reporting meanwhile; answers its totals. */
export async function watch(save: Save, options: TransferOptions, started: number, known: KnownBytes = {}) {
  return new SaveWatch(options, started, known).end(save);
}

/** What every save takes of its session and its caller. */
export function saveOptions(session: BackupSession, { signal, workers }: TransferOptions) {
  return {
    level: session.level,
    ...(signal && { signal }),
    ...(workers !== undefined && { workers }),
  };
}

/** Ids and fingerprints of a file's blobs by their place. */
export class SavedBlobs {
  readonly content = new ContentList();
  readonly fingerprints = new FingerprintList();

  add(batch: BlobBatch): void {
    forEachBlob(batch, (place, id, fingerprint) => {
      this.content.set(place, id);
      this.fingerprints.set(place, fingerprint);
    });
  }
}

/** `visit` gets 32 bytes of id and 16 of fingerprint. */
export function forEachBlob(
  { places, ids, fingerprints }: BlobBatch,
  visit: (place: number, id: Uint8Array, fingerprint: Uint8Array) => void,
): void {
  places.forEach((place, i) =>
    visit(place, ids.subarray(i * 32, i * 32 + 32), fingerprintAt(fingerprints, i)),
  );
}
