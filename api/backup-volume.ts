import { conditions, NAME, NAMESPACE_NAME } from './references.ts';
import { AGE, column, kind, wide, type ObjectOfKind } from './schema/kind.ts';
import { count, immutable, object, optional, string, timestamp, type TypeOf } from './schema/schema.ts';

const spec = object('Which volume of which target this stands for.', {
  backupTarget: immutable(string('Name of the BackupTarget.', NAME)),
  // Not `namespace`, which CEL keeps for itself.
  claimNamespace: immutable(string("The claim's namespace.", NAMESPACE_NAME)),
  claim: immutable(string("The claim's name.", NAME)),
  cluster: immutable(
    optional(string('The cluster it came from: the host name of its restic snapshots.', { maxLength: 253 })),
  ),
  syncRequestedAt: optional(
    timestamp('Reads its backups again, when this is later than status.lastSyncedAt.'),
  ),
});

const status = object('What the bucket holds of it.', {
  conditions,
  message: optional(string('What is wrong, in one sentence.', { maxLength: 4096 })),
  driver: optional(string('The driver of its last backup.', { maxLength: 63 })),
  bytes: optional(count('Its size at its last backup.')),
  size: optional(string('The same for people: `20 GiB`.', { maxLength: 40 })),
  storageClassName: optional(string('Its storage class at its last backup.', NAME)),
  backups: optional(count('Backups found.')),
  firstBackupAt: optional(timestamp('Time of the oldest backup.')),
  lastBackupAt: optional(timestamp('Time of the newest backup.')),
  lastBackup: optional(string('Name of the newest Backup.', NAME)),
  lastSyncedAt: optional(timestamp('When its backups were last read to the end.')),
});

/** A volume of which a target holds backups: made from what the bucket says, also in a cluster that never saw the volume. */
export const backupVolume = kind({
  group: 'datamover.io',
  version: 'v1alpha1',
  kind: 'BackupVolume',
  plural: 'backupvolumes',
  shortNames: ['dmv'],
  scope: 'Namespaced',
  description:
    'A volume of which a BackupTarget holds backups. Made and removed with what the bucket holds; removing it removes nothing there.',
  spec,
  status,
  columns: [
    column('Target', '.spec.backupTarget'),
    column('Namespace', '.spec.claimNamespace'),
    column('PVC', '.spec.claim'),
    column('Driver', '.status.driver'),
    column('Size', '.status.size'),
    column('Backups', '.status.backups', { type: 'integer' }),
    column('Last', '.status.lastBackupAt', { type: 'date' }),
    AGE,
    wide('Cluster', '.spec.cluster'),
    wide('Message', '.status.message'),
  ],
});

export type BackupVolume = ObjectOfKind<typeof backupVolume>;
export type BackupVolumeSpec = TypeOf<typeof spec>;
export type BackupVolumeStatus = TypeOf<typeof status>;
