import { RESOURCES } from '../kubernetes/resources.ts';
import { contentOfBackup, startBackup } from '../moving/backup.ts';
import { openSite } from '../moving/cluster.ts';
import { waitForEnd } from '../moving/wait.ts';
import type { BackupItemAction } from './contract.ts';
import { CONTENTS, identify } from './moved-resources.ts';
import { sentence } from './wire/call.ts';

/** Longer than any time limit that an administrator sets: the wait has its own. */
export const WHILE_WAITING_MS = 7 * 24 * 3_600_000;

/**
 * The same as move-snapshot for Velero servers without operations (before 1.12): the backup stands still at each content until the
 * mover is done, and takes the record along at once.
 */
export const moveSnapshotV1: BackupItemAction = {
  kind: 'BackupItemAction',
  name: 'datamover.io/move-snapshot-v1',
  timeLimit: WHILE_WAITING_MS,
  appliesTo: () => ({ includedResources: [CONTENTS] }),
  async execute(item, backup, context) {
    const content = contentOfBackup(item, backup);
    if (content === undefined) return {};
    try {
      const { client, settings } = await openSite(context);
      if (!settings.enabled) return {};
      const started = await startBackup(content, backup, { client, settings }, context);
      if (started === undefined) return {};
      const { signal } = context;
      await waitForEnd(client, RESOURCES.volumeSnapshotBackup, started, {
        ...{ timeoutMs: settings.timeoutMs, signal },
      });
      return { additionalItems: [identify(started)] };
    } catch (error) {
      // As in move-snapshot: content, snapshot and claim are backed up all the same, and the backup is PartiallyFailed.
      context.log.error(`the snapshot stays on its storage alone: ${sentence(error)}`);
      return {};
    }
  },
};
