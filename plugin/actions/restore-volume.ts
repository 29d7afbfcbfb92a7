import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES } from '../kubernetes/resources.ts';
import { openSite } from '../moving/cluster.ts';
import { operationIdOf, progressOf, readOperationId } from '../moving/progress.ts';
import { isTaken, startRestore } from '../moving/restore.ts';
import { readRestoreFacts } from '../moving/restore-facts.ts';
import { leavesVolumes, mappedNamespace } from '../moving/velero-marks.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import type { ActionContext, RestoreInput, RestoreItemActionV2 } from './contract.ts';
import { askAgain } from './move-snapshot.ts';
import { BACKUPS } from './moved-resources.ts';

/**
 * A VolumeSnapshotBackup in a backup is a record, not an order: it is never restored itself. For each a VolumeSnapshotRestore is made
 * that brings the volume back, and the restore waits for it without standing still.
 */
export const restoreVolume: RestoreItemActionV2 = {
  kind: 'RestoreItemActionV2',
  name: 'datamover.io/restore-volume',
  appliesTo: () => ({ includedResources: [BACKUPS] }),
  async execute(input, context) {
    const started = (await beginRestore(input, context))?.transfer;
    return {
      skipRestore: true,
      ...(started === undefined ? {} : { operationID: operationIdOf(started) }),
    };
  },
  async progress(operationID, _restore, context) {
    const [namespace, name] = readOperationId(operationID);
    const { client } = await openSite(context).catch(askAgain);
    const found = await client.get(RESOURCES.volumeSnapshotRestore, namespace, name).catch(askAgain);
    if (found === undefined)
      return { state: 'failed', message: `VolumeSnapshotRestore ${operationID} is gone` };
    return progressOf(found);
  },
  async cancel(operationID, _restore, context) {
    const [namespace, name] = readOperationId(operationID);
    const { client } = await openSite(context);
    await client.merge(RESOURCES.volumeSnapshotRestore, namespace, name, { spec: { cancel: true } });
  },
};

/** Undefined when there is nothing to bring back, or no wish to. */
export async function beginRestore(
  { item, itemFromBackup, restore }: RestoreInput,
  context: ActionContext,
): Promise<{ readonly transfer: VolumeSnapshotRestore; readonly client: KubernetesClient } | undefined> {
  const facts = readRestoreFacts(itemFromBackup);
  const namespace = item.metadata.namespace ?? '';
  if (leavesVolumes(restore)) return undefined;
  if (facts === undefined) {
    context.log.info(
      `VolumeSnapshotBackup ${namespace}/${item.metadata.name} did not complete: it has no data`,
    );
    return undefined;
  }
  const site = await openSite(context);
  const target = mappedNamespace(restore, namespace);
  if (!site.settings.enabled) {
    context.log.info(`the data mover is not enabled: the volume of ${target}/${facts.claimName} stays away`);
    return undefined;
  }
  if (await isTaken(site.client, restore, target, facts.claimName)) {
    context.log.info(`the claim ${target}/${facts.claimName} is there already and stays as it is`);
    return undefined;
  }
  const transfer = await startRestore({ namespace, name: item.metadata.name, facts }, restore, site);
  context.log.info(`VolumeSnapshotRestore ${operationIdOf(transfer)} brings the volume back`);
  return { transfer, client: site.client };
}
