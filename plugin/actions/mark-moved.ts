import { ANNOTATIONS } from '../../api/names.ts';
import type { VolumeSnapshot, VolumeSnapshotContent } from '../../api/neighbours/snapshot.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES } from '../kubernetes/resources.ts';
import { snapshotBackupName } from '../moving/backup.ts';
import { openSite } from '../moving/cluster.ts';
import { restoreAnnotations } from '../moving/restore-facts.ts';
import { isOfBackup, VOLUME_SNAPSHOT } from '../moving/velero-marks.ts';
import { annotate } from './annotate.ts';
import type { BackupItemAction, KubernetesItem, VeleroBackup } from './contract.ts';
import { CLAIMS, CONTENTS, SNAPSHOTS } from './moved-resources.ts';
import { sentence } from './wire/call.ts';

/**
 * Says on the copies of claims, snapshots and contents which VolumeSnapshotBackup has the volume. A claim is backed up before its
 * transfer ends; snapshot and content are asked about once more when all operations have ended, and are marked only when the
 * transfer is Completed: what failed is restored from the snapshot on its storage, where that is still there.
 */
export const markMoved: BackupItemAction = {
  kind: 'BackupItemAction',
  name: 'datamover.io/mark-moved',
  appliesTo: () => ({ includedResources: [CLAIMS, SNAPSHOTS, CONTENTS] }),
  async execute(item, backup, context) {
    if (!isOfBackup(item.metadata.labels, backup) || backup.spec['snapshotMoveData'] === true) return {};
    try {
      const { client, settings } = await openSite(context);
      if (!settings.enabled) return {};
      const mover = await moverOf(item, backup, client);
      const done = mover?.status?.phase === 'Completed';
      if (mover === undefined || (item.kind !== 'PersistentVolumeClaim' && !done)) return {};
      const facts = done && item.kind === 'PersistentVolumeClaim' ? restoreAnnotations(mover) : {};
      return { item: annotate(item, { ...facts, [ANNOTATIONS.movedBy]: mover.metadata.name }) };
    } catch (error) {
      context.log.error(`a restore will not find the moved volume: ${sentence(error)}`);
      return {};
    }
  },
};

/** The VolumeSnapshotBackup, which the names of backup and content lead to. */
async function moverOf(
  item: KubernetesItem,
  backup: VeleroBackup,
  client: KubernetesClient,
): Promise<VolumeSnapshotBackup | undefined> {
  const place = await contentOf(item, client);
  if (place?.namespace === undefined || place.content === undefined) return undefined;
  const name = snapshotBackupName(backup, place.content);
  return client.get(RESOURCES.volumeSnapshotBackup, place.namespace, name);
}

async function contentOf(
  item: KubernetesItem,
  client: KubernetesClient,
): Promise<{ readonly namespace: string | undefined; readonly content: string | undefined } | undefined> {
  const { name, namespace, annotations, labels } = item.metadata;
  switch (item.kind) {
    case 'VolumeSnapshotContent':
      return {
        content: name,
        namespace: (item as unknown as VolumeSnapshotContent).spec.volumeSnapshotRef.namespace,
      };
    case 'VolumeSnapshot':
      return {
        namespace,
        content: (item as unknown as VolumeSnapshot).status?.boundVolumeSnapshotContentName,
      };
    default: {
      const snapshot = annotations?.[VOLUME_SNAPSHOT] ?? labels?.[VOLUME_SNAPSHOT];
      if (namespace === undefined || snapshot === undefined) return undefined;
      const found = await client.get(RESOURCES.snapshot, namespace, snapshot);
      return { namespace, content: found?.status?.boundVolumeSnapshotContentName };
    }
  }
}
