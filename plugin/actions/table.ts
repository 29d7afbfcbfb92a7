import { once } from 'node:events';
import { openSite } from '../moving/cluster.ts';
import type { ActionContext, RegisteredAction } from './contract.ts';
import { freeBackup } from './free-backup.ts';
import { freeDataUpload } from './free-data-upload.ts';
import { markMoved } from './mark-moved.ts';
import { moveSnapshotV1 } from './move-snapshot-v1.ts';
import { moveSnapshot } from './move-snapshot.ts';
import { s3ObjectStore } from './object-store/provider.ts';
import { restoreClaim } from './restore-claim.ts';
import { restoreClaimV1, restoreVolumeV1 } from './restore-volume-v1.ts';
import { restoreVolume } from './restore-volume.ts';
import { skipMoved } from './skip-moved.ts';
import { transferRecord } from './transfer-record.ts';
import { sentence } from './wire/call.ts';

/** Actions of which Velero is told one set alone. */
const SETS = {
  v2: [moveSnapshot, restoreVolume, restoreClaim],
  v1: [moveSnapshotV1, restoreVolumeV1, restoreClaimV1],
} as const;

/** What marks a snapshot as moved comes after what moves it. */
const COMMON = [markMoved, transferRecord, skipMoved, freeBackup, freeDataUpload] as const;

/**
 * All that we serve, in the order in which Velero asks (its own actions come first). One file for each. Velero starts a process every few
 * seconds: whatever is slow to load is imported inside the method that needs it.
 */
export const actions: readonly RegisteredAction[] = [s3ObjectStore, ...SETS.v2, ...SETS.v1, ...COMMON];

/** The server waits for this answer when it starts. */
const PATIENCE_MS = 5_000;

/** What Velero is told of when it starts: version 2, unless the plugin's ConfigMap says `actions: v1`. */
export async function offeredActions(
  context: Omit<ActionContext, 'signal'>,
): Promise<readonly RegisteredAction[]> {
  let set: keyof typeof SETS = 'v2';
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const late = once(signal, 'abort').then(() =>
      Promise.reject(new Error('the API server does not answer')),
    );
    const { settings } = await Promise.race([openSite({ ...context, signal }), late]);
    set = settings.actionSet;
  } catch (error) {
    context.log.info(`actions of version 2 are offered: ${sentence(error)}`);
  }
  return [s3ObjectStore, ...SETS[set], ...COMMON];
}
