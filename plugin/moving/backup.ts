import { deterministicName, labelValue, secretOfLocation } from '../../api/derived-names.ts';
import { chooseMover, type MoverChoice } from '../../api/mover-class.ts';
import { ANNOTATIONS, LABELS } from '../../api/names.ts';
import type { VolumeSnapshotContent } from '../../api/neighbours/snapshot.ts';
import { VELERO } from '../../api/neighbours/velero.ts';
import type { ObjectMeta } from '../../api/schema/kind.ts';
import type { VolumeSnapshotBackup, VolumeSnapshotBackupSpec } from '../../api/volume-snapshot-backup.ts';
import type { ActionContext, KubernetesItem, VeleroBackup } from '../actions/contract.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES } from '../kubernetes/resources.ts';
import type { Site } from './cluster.ts';
import { refuseUnseenKind } from './known-kinds.ts';
import type { Settings } from './settings.ts';
import { isOfBackup, storageLocationOf, uidOf } from './velero-marks.ts';

/** The VolumeSnapshotContent in the item, if Velero made it for this backup and the mover is the one to move it. */
export function contentOfBackup(
  item: KubernetesItem,
  backup: VeleroBackup,
): VolumeSnapshotContent | undefined {
  // With --snapshot-move-data Velero itself asks the mover, by a DataUpload.
  if (backup.spec['snapshotMoveData'] === true || !isOfBackup(item.metadata.labels, backup)) return undefined;
  return item as unknown as VolumeSnapshotContent;
}

/** A name that follows from backup and content: a second call finds the object of the first. */
export function snapshotBackupName(backup: VeleroBackup, contentName: string): string {
  return deterministicName('vsb', uidOf(backup), contentName);
}

/** Makes the VolumeSnapshotBackup for a content; undefined when another mover has the claim, or nobody. */
export async function startBackup(
  content: VolumeSnapshotContent,
  backup: VeleroBackup,
  { client, settings }: Site,
  context: Pick<ActionContext, 'hostStarted' | 'log'>,
): Promise<VolumeSnapshotBackup | undefined> {
  const { namespace, name: snapshot } = content.spec.volumeSnapshotRef;
  const contentName = content.metadata.name ?? '';
  if (namespace === undefined || snapshot === undefined)
    throw new Error(`move VolumeSnapshotContent ${contentName}: it does not say whose VolumeSnapshot it is`);
  const choice = await moverOf(client, namespace, snapshot);
  if (choice.is === 'others') return undefined;
  if (choice.is === 'missing') {
    throw new Error(
      `move VolumeSnapshot ${namespace}/${snapshot}: the DataMoverClass ${choice.name} that its claim names (${ANNOTATIONS.class}) does not exist`,
    );
  }
  await refuseUnseenKind(client, `move VolumeSnapshot ${namespace}/${snapshot}`, context);
  const chosen = choice.of;
  return client.create(RESOURCES.volumeSnapshotBackup, {
    metadata: {
      namespace,
      name: snapshotBackupName(backup, contentName),
      labels: {
        [VELERO.backupName]: labelValue(backup.metadata.name),
        [VELERO.backupUid]: labelValue(uidOf(backup)),
        [LABELS.snapshotContent]: labelValue(contentName),
      },
    },
    spec: {
      volumeSnapshotContent: { name: contentName },
      protectedNamespace: backup.metadata.namespace ?? '',
      ...repositoryOf(chosen?.spec.backupTarget, settings, storageLocationOf(backup)),
      ...(chosen?.metadata.name === undefined ? {} : { dataMoverClass: chosen.metadata.name }),
    },
  });
}

/** Where to: the class says it, else the settings, else OADP's secret for the backup storage location. */
export function repositoryOf(
  classTarget: string | undefined,
  { backupTarget, resticSecret }: Settings,
  location: string,
): Pick<VolumeSnapshotBackupSpec, 'backupTarget' | 'resticSecretRef'> {
  const target = classTarget ?? backupTarget;
  return target === undefined
    ? { resticSecretRef: { name: secretOf({ resticSecret }, location) } }
    : { backupTarget: target };
}

export function secretOf(
  { resticSecret }: { readonly resticSecret?: string | undefined },
  location: string,
): string {
  if (resticSecret === undefined && location === '')
    throw new Error(
      'find the repository: the backup names no storage location, and no BackupTarget is set; name one in a DataMoverClass',
    );
  return resticSecret ?? secretOfLocation(location);
}

async function moverOf(client: KubernetesClient, namespace: string, snapshot: string): Promise<MoverChoice> {
  const classes = (await client.list(RESOURCES.dataMoverClass, undefined)) ?? [];
  return chooseMover(classes, undefined, await claimOf(client, namespace, snapshot));
}

/** Metadata of the claim that a snapshot is of; nothing when either is gone: then the default decides. */
async function claimOf(client: KubernetesClient, namespace: string, snapshot: string): Promise<ObjectMeta> {
  const found = await client.get(RESOURCES.snapshot, namespace, snapshot);
  const claim = found?.spec.source.persistentVolumeClaimName;
  if (claim === undefined) return {};
  return (await client.get(RESOURCES.claim, namespace, claim))?.metadata ?? {};
}
