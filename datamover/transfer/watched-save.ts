import type { BackupSession } from '../repository/backup-session.ts';
import type { BlobBatch, Save } from '../repository/saver/saver.ts';
import { fingerprintAt } from './fingerprints.ts';
import {
  progressOf,
  PROGRESS_INTERVAL_MS,
  type KnownBytes,
  type Progress,
  type TransferOptions,
} from './progress.ts';

/** Waits for the save, reporting meanwhile; answers its totals. */
export async function watch(
  save: Save,
  { onProgress }: TransferOptions,
  started: number,
  known: KnownBytes = {},
) {
  const report = (phase: Progress['phase']): void =>
    onProgress?.(progressOf(phase, save.counters(), started, known));
  const timer = onProgress && setInterval(() => report('transferring'), PROGRESS_INTERVAL_MS);
  try {
    const totals = await save.finished;
    return { ...totals, counters: save.counters() };
  } finally {
    clearInterval(timer);
    report('finishing');
  }
}

/** What every save takes of its session and its caller. */
export function saveOptions(session: BackupSession, { signal, workers }: TransferOptions) {
  return {
    level: session.level,
    ...(signal && { signal }),
    ...(workers !== undefined && { workers }),
  };
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
