import { conditions, NAME, nameReference, NAMESPACE_NAME, QUANTITY, SNAPSHOT_ID } from './references.ts';
import { AGE, column, kind, wide, type ObjectOfKind } from './schema/kind.ts';
import {
  boolean,
  count,
  enumOf,
  immutable,
  object,
  optional,
  string,
  timestamp,
  type TypeOf,
} from './schema/schema.ts';
import {
  cancel,
  CANCEL_STAYS,
  dataMoverClass,
  sourceClaim,
  STATUS_RULES,
  transferStatus,
} from './transfer.ts';

const backup = object('The backup to restore, as the VolumeSnapshotBackup reported it.', {
  resticrepository: optional(string('The repository that holds it.')),
  snapshotID: optional(string("The restic snapshot; without it the claim's last one.", SNAPSHOT_ID)),
  sourceNamespace: optional(
    string("The claim's namespace when it was backed up; without it this object's.", NAMESPACE_NAME),
  ),
  sourcePVCData: object('The claim that was backed up.', sourceClaim),
  volumeSnapshotClassName: optional(string('The class of its snapshot.', NAME)),
});

const target = object('What the volume becomes; what is left out is as it was backed up.', {
  claimName: optional(
    string(
      "A claim in this object's namespace that waits for a volume: it is bound to the restored one. Without it a snapshot is made.",
      NAME,
    ),
  ),
  storageClassName: optional(string('The storage class to restore into.', NAME)),
  size: optional(string('A larger size.', QUANTITY)),
  node: optional(string('The node to restore on, for storage that belongs to nodes.', NAME)),
});

const spec = object(
  'Which backup is restored, and what it becomes.',
  {
    volumeSnapshotMoverBackupRef: immutable(backup),
    protectedNamespace: immutable(
      string(
        'The namespace of Velero or OADP, and of the secret or BackupTarget named here.',
        NAMESPACE_NAME,
      ),
    ),
    resticSecretRef: immutable(
      optional(nameReference('The secret that holds RESTIC_PASSWORD and leads to the repository.')),
    ),
    backupTarget: immutable(
      optional(string('The BackupTarget that holds the backup, instead of resticSecretRef.', NAME)),
    ),
    dataMoverClass: immutable(dataMoverClass),
    target: immutable(optional(target)),
    verify: immutable(
      optional(
        boolean(
          'Reads a restored image back from its storage; a dataset that receives streams cannot be read back.',
        ),
      ),
    ),
    cancel,
  },
  [
    {
      rule: 'has(self.resticSecretRef) != has(self.backupTarget)',
      message: 'give either resticSecretRef or backupTarget',
    },
    {
      // A snapshot's ID alone would give any volume of the repository to whoever knows it.
      rule: 'has(self.volumeSnapshotMoverBackupRef.sourcePVCData.name)',
      message: 'say which backup: sourcePVCData.name of volumeSnapshotMoverBackupRef is missing',
    },
    CANCEL_STAYS,
  ],
);

const status = object(
  'How it went.',
  {
    phase: optional(
      enumOf("How far it is, in OADP's words; Canceled is ours.", [
        'InProgress',
        'SnapshotRestoreDone',
        'Cleanup',
        'Completed',
        'PartiallyFailed',
        'Failed',
        'Canceled',
      ]),
    ),
    conditions,
    ...transferStatus,
    snapshotHandle: optional(string('The CSI snapshot that holds the restored volume.')),
    volumeSnapshotContentName: optional(string('The VolumeSnapshotContent of that snapshot.', NAME)),
    volumeName: optional(string('The PersistentVolume that the data go into and that the claim gets.', NAME)),
    amounts: optional(
      object('What was moved, in bytes.', {
        written: count('Written to the storage.'),
        zeros: optional(count('Left out since the storage reads zeros there.')),
        downloaded: optional(count('Fetched from the repository, as stored there.')),
      }),
    ),
    replicationDestinationData: optional(
      object("VolSync's part in OADP 1.2; never written here.", {
        name: optional(string('Name of the ReplicationDestination.')),
        startTimestamp: optional(timestamp('When it began.')),
        completionTimestamp: optional(timestamp('When it ended.')),
      }),
    ),
  },
  [
    ...STATUS_RULES,
    {
      // OADP's own mover once completed restores without one (volume-snapshot-mover#114).
      rule: "!has(self.phase) || self.phase != 'Completed' || (has(oldSelf.phase) && oldSelf.phase == 'Completed') || has(self.snapshotHandle) || has(self.volumeName)",
      message: 'a completed restore names what it made: snapshotHandle or volumeName is missing',
    },
  ],
);

/** One backup of a volume on its way back onto storage: the unit of work of every restore. */
export const volumeSnapshotRestore = kind({
  group: 'datamover.oadp.openshift.io',
  version: 'v1alpha1',
  kind: 'VolumeSnapshotRestore',
  plural: 'volumesnapshotrestores',
  shortNames: ['vsr'],
  scope: 'Namespaced',
  description:
    'Brings a volume back from a restic repository, as a CSI snapshot or as the volume of a claim.',
  spec,
  status,
  // An agent watches those of its node alone.
  selectable: ['.status.node'],
  columns: [
    column('PVC Name', '.spec.volumeSnapshotMoverBackupRef.sourcePVCData.name'),
    column('VolumeSnapshotContent', '.status.volumeSnapshotContentName'),
    column('Phase', '.status.phase'),
    column('BatchingStatus', '.status.batchingStatus'),
    column('Driver', '.status.storage.driver'),
    column('%', '.status.progress.percent', { type: 'integer' }),
    column('Moved', '.status.moved'),
    AGE,
    wide('Volume', '.status.volumeName'),
    wide('Snapshot', '.status.snapshotID'),
    wide('Node', '.status.node'),
    wide('Message', '.status.message'),
  ],
});

export type VolumeSnapshotRestore = ObjectOfKind<typeof volumeSnapshotRestore>;
export type VolumeSnapshotRestoreSpec = TypeOf<typeof spec>;
export type VolumeSnapshotRestoreStatus = TypeOf<typeof status>;
