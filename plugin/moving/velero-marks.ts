import { createHash } from 'node:crypto';
import { labelValue } from '../../api/derived-names.ts';
import { VELERO } from '../../api/neighbours/velero.ts';
import type { ObjectMeta } from '../../api/schema/kind.ts';
import type { KubernetesItem, VeleroBackup, VeleroRestore } from '../actions/contract.ts';

/** Velero drops an item from the backup whose copy has it. */
export const SKIP_FROM_BACKUP = 'velero.io/skip-from-backup';
/** On the copy of a claim: the VolumeSnapshot that Velero made of it; a label in older versions. */
export const VOLUME_SNAPSHOT = 'velero.io/volume-snapshot-name';

export function uidOf({ metadata: { uid } }: KubernetesItem): string {
  if (uid === undefined || uid === '') throw new Error('what Velero sent has no uid');
  return uid;
}

/** Velero asks again about some items when the operations have ended; nothing must be started then. */
export function isFinalizing({ status }: VeleroBackup): boolean {
  return status?.phase === 'Finalizing' || status?.phase === 'FinalizingPartiallyFailed';
}

/**
 * Whether the labels say that an object was made for this backup. A backup of a namespace takes along what earlier ones left in it, under
 * another name or, where a backup was made again, another UID.
 */
export function isOfBackup(labels: ObjectMeta['labels'], backup: VeleroBackup): boolean {
  if (!namesBackup(labels, backup)) return false;
  const uid = labels?.[VELERO.backupUid];
  return uid === undefined || backup.metadata.uid === undefined || uid === backup.metadata.uid;
}

/** The storage location that a backup lies in, as this cluster calls it; empty where it names none. */
export function storageLocationOf({ spec: { storageLocation } }: VeleroBackup): string {
  return typeof storageLocation === 'string' ? storageLocation : '';
}

function namesBackup(labels: ObjectMeta['labels'], { metadata }: VeleroBackup): boolean {
  // Velero labels claims with the name as it is, and all else with the shortened one.
  const name = labels?.[VELERO.backupName];
  return name !== undefined && (name === metadata.name || name === labelValue(metadata.name));
}

/** Clocks of Velero and of its API server may differ a little. */
const CLOCKS_MS = 60_000;

/**
 * Whether an item of a backup's archive was made for it, asked where the backup may have come from its bucket: there it has another UID
 * than in the cluster that made it, but its own times. What an earlier backup of that name left is older than this one.
 */
export function isArchivedFor({ metadata }: KubernetesItem, backup: VeleroBackup): boolean {
  if (isOfBackup(metadata.labels, backup)) return true;
  const made = Date.parse(String(metadata['creationTimestamp']));
  const begun = Date.parse(String(backup.status?.['startTimestamp']));
  const ended = Date.parse(String(backup.status?.['completionTimestamp']));
  return namesBackup(metadata.labels, backup) && made >= begun - CLOCKS_MS && made <= ended + CLOCKS_MS;
}

/** The same of a VolumeSnapshotBackup: the plugin gives each the UID, so one without it was made by somebody else. */
export function isTransferOfBackup(labels: ObjectMeta['labels'], backup: VeleroBackup): boolean {
  return labels?.[VELERO.backupUid] !== undefined && isOfBackup(labels, backup);
}

/** Where a namespace of the backup is restored. */
export function mappedNamespace({ spec }: VeleroRestore, namespace: string): string {
  const mapping = spec['namespaceMapping'];
  const mapped: unknown =
    typeof mapping === 'object' && mapping !== null
      ? (mapping as Record<string, unknown>)[namespace]
      : undefined;
  return typeof mapped === 'string' && mapped !== '' ? mapped : namespace;
}

/** `--restore-volumes=false`: volumes are not wanted. */
export function leavesVolumes({ spec }: VeleroRestore): boolean {
  return spec['restorePVs'] === false;
}

/**
 * The label that a claim selects its volume by while data come: nothing provisions for a claim with a selector, and the mover labels
 * the volume so. Velero does the same for its DataDownloads.
 */
export function restoreSelector(restore: VeleroRestore, namespace: string, claim: string): string {
  const suffix = createHash('sha256').update(uidOf(restore)).digest('hex').slice(0, 5);
  return labelValue(`${namespace}.${claim}.${suffix}`);
}
