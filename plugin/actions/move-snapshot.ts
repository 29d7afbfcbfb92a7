import { RESOURCES } from '../kubernetes/resources.ts';
import { contentOfBackup, startBackup } from '../moving/backup.ts';
import { openSite } from '../moving/cluster.ts';
import { operationIdOf, progressOf, readOperationId } from '../moving/progress.ts';
import { isFinalizing } from '../moving/velero-marks.ts';
import { CONTENTS, identify } from './moved-resources.ts';
import { AskAgain, type BackupItemActionV2 } from './contract.ts';
import { sentence } from './wire/call.ts';

/**
 * Has the CSI snapshots of a Velero backup moved: makes a VolumeSnapshotBackup for each content, and the backup waits for it. Velero keeps
 * snapshot and content until all operations have ended, and the snapshot on the storage as long as the backup.
 */
export const moveSnapshot: BackupItemActionV2 = {
  kind: 'BackupItemActionV2',
  name: 'datamover.io/move-snapshot',
  appliesTo: () => ({ includedResources: [CONTENTS] }),
  async execute(item, backup, context) {
    const content = isFinalizing(backup) ? undefined : contentOfBackup(item, backup);
    if (content === undefined) return {};
    try {
      const site = await openSite(context);
      if (!site.settings.enabled) return {};
      const started = await startBackup(content, backup, site, context);
      if (started === undefined) return {};
      context.log.info(`VolumeSnapshotBackup ${operationIdOf(started)} moves the snapshot`);
      return { operationID: operationIdOf(started), postOperationItems: [identify(started)] };
    } catch (error) {
      // An error in the answer would keep content, snapshot and claim out of the backup; a line makes it PartiallyFailed all the same.
      context.log.error(`the snapshot stays on its storage alone: ${sentence(error)}`);
      return {};
    }
  },
  async progress(operationID, _backup, context) {
    const [namespace, name] = readOperationId(operationID);
    const { client } = await openSite(context).catch(askAgain);
    const found = await client.get(RESOURCES.volumeSnapshotBackup, namespace, name).catch(askAgain);
    if (found === undefined)
      return { state: 'failed', message: `VolumeSnapshotBackup ${operationID} is gone` };
    return progressOf(found);
  },
  async cancel(operationID, _backup, context) {
    const [namespace, name] = readOperationId(operationID);
    const { client } = await openSite(context);
    await client.merge(RESOURCES.volumeSnapshotBackup, namespace, name, { spec: { cancel: true } });
  },
};

/** Whatever keeps us from the answer may pass; Velero's own time limit ends what does not. */
export function askAgain(error: unknown): never {
  throw new AskAgain(sentence(error), { cause: error });
}
