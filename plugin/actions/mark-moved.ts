import { ANNOTATIONS } from '../../api/names.ts';
import type { VolumeSnapshot, VolumeSnapshotContent } from '../../api/neighbours/snapshot.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES } from '../kubernetes/resources.ts';
import { snapshotBackupName } from '../moving/backup.ts';
import { openSite } from '../moving/cluster.ts';
import { restoreAnnotations } from '../moving/restore-facts.ts';
import { isOfBackup, VOLUME_SNAPSHOT } from '../moving/velero-marks.ts';
import { annotate, withoutMarks } from './annotate.ts';
import type { ActionContext, BackupItemAction, KubernetesItem, VeleroBackup } from './contract.ts';
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
    // What the live object says in our words is somebody's invention, or of an earlier backup; also where nothing is moved.
    const clean = withoutMarks(item);
    const marks = await marksOf(item, backup, context);
    const marked = marks === undefined ? clean : annotate(clean, marks);
    return marked === item ? {} : { item: marked };
  },
};

/** Undefined when the item is none of a move. */
async function marksOf(
  item: KubernetesItem,
  backup: VeleroBackup,
  context: ActionContext,
): Promise<Readonly<Record<string, string>> | undefined> {
  if (!isOfBackup(item.metadata.labels, backup) || backup.spec['snapshotMoveData'] === true) return undefined;
  try {
    const { client, settings } = await openSite(context);
    if (!settings.enabled) return undefined;
    const mover = await moverOf(item, backup, client);
    const done = mover?.status?.phase === 'Completed';
    if (mover === undefined || (item.kind !== 'PersistentVolumeClaim' && !done)) return undefined;
    const facts = done && item.kind === 'PersistentVolumeClaim' ? restoreAnnotations(mover) : {};
    return { ...facts, [ANNOTATIONS.movedBy]: mover.metadata.name ?? '' };
  } catch (error) {
    context.log.error(`a restore will not find the moved volume: ${sentence(error)}`);
    return undefined;
  }
}

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
