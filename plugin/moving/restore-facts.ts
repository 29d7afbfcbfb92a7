import { BACKUP_ANNOTATIONS } from '../../api/names.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestore, VolumeSnapshotRestoreSpec } from '../../api/volume-snapshot-restore.ts';
import type { KubernetesItem } from '../actions/contract.ts';

type Facts = VolumeSnapshotRestoreSpec['volumeSnapshotMoverBackupRef'];
type Claim = VolumeSnapshotRestore['spec']['volumeSnapshotMoverBackupRef']['sourcePVCData'];

/** What a restore has to know of a backup, as annotations: Velero restores no status. */
export function restoreAnnotations({
  metadata,
  spec,
  status,
}: VolumeSnapshotBackup): Readonly<Record<string, string>> {
  const claim = status?.sourcePVCData;
  const facts: Readonly<Record<keyof typeof BACKUP_ANNOTATIONS, string | undefined>> = {
    repository: status?.resticrepository,
    claimName: claim?.name,
    claimSize: claim?.size,
    storageClass: claim?.storageClassName,
    snapshotClass: status?.volumeSnapshotClassName,
    volumeMode: claim?.volumeMode,
    accessModes: claim?.accessModes?.join(','),
    namespace: metadata.namespace,
    snapshotID: status?.snapshotID,
    backupTarget: spec.backupTarget,
  };
  const written: Record<string, string> = {};
  for (const [fact, value] of Object.entries(facts) as [keyof typeof facts, string | undefined][]) {
    if (value !== undefined && value !== '') written[BACKUP_ANNOTATIONS[fact]] = value;
  }
  return written;
}

export interface RestoreFacts {
  readonly backup: Facts & { readonly snapshotID: string };
  readonly claimName: string;
  readonly backupTarget?: string;
}

/**
 * The way back; undefined when the backup came to nothing. The namespace is the item's, whatever an annotation says: the mover gives
 * nothing of another namespace than the one named.
 */
export function readRestoreFacts({ metadata }: KubernetesItem): RestoreFacts | undefined {
  const fact = (name: keyof typeof BACKUP_ANNOTATIONS): string | undefined => {
    const value = metadata.annotations?.[BACKUP_ANNOTATIONS[name]];
    return value === '' ? undefined : value;
  };
  const snapshotID = fact('snapshotID');
  const claimName = fact('claimName');
  if (snapshotID === undefined || claimName === undefined) return undefined;
  const optional = (key: string, value: string | undefined): Readonly<Record<string, string>> =>
    value === undefined ? {} : { [key]: value };
  const claim = {
    name: claimName,
    ...optional('size', fact('claimSize')),
    ...optional('storageClassName', fact('storageClass')),
    ...optional('volumeMode', fact('volumeMode')),
    ...(fact('accessModes') === undefined ? {} : { accessModes: fact('accessModes')?.split(',') }),
  } as Claim;
  return {
    claimName,
    ...optional('backupTarget', fact('backupTarget')),
    backup: {
      snapshotID,
      sourcePVCData: claim,
      ...optional('resticrepository', fact('repository')),
      ...optional('sourceNamespace', metadata.namespace),
      ...optional('volumeSnapshotClassName', fact('snapshotClass')),
    },
  };
}
