import { conditions, NAME, nameReference, NAMESPACE_NAME, SNAPSHOT_ID } from './references.ts';
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

/**
 * core/v1 ObjectReference, whose name alone is read. OADP has it so.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-reference/
 */
const snapshotContent = object('The VolumeSnapshotContent to move; only its name is read.', {
  name: string('Its name.', NAME),
  apiVersion: optional(string('Not read.')),
  fieldPath: optional(string('Not read.')),
  kind: optional(string('Not read.')),
  namespace: optional(string('Not read.')),
  resourceVersion: optional(string('Not read.')),
  uid: optional(string('Not read.')),
});

const spec = object(
  'Which snapshot is moved, and where to.',
  {
    volumeSnapshotContent: immutable(snapshotContent),
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
      optional(string('The BackupTarget to move it to, instead of resticSecretRef.', NAME)),
    ),
    dataMoverClass: immutable(dataMoverClass),
    base: immutable(
      optional(
        string(
          'The earlier backup to compare with: `auto`, the newest from which changes can be told; `none`, everything is read; or a snapshot ID, which must do.',
          { pattern: '^(auto|none|[0-9a-f]{8,64})$', maxLength: 64 },
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
    CANCEL_STAYS,
  ],
);

const status = object(
  'How it went.',
  {
    phase: optional(
      enumOf("How far it is, in OADP's words; Canceled is ours.", [
        'InProgress',
        'SnapshotBackupDone',
        'Cleanup',
        'Completed',
        'PartiallyFailed',
        'Failed',
        'Canceled',
      ]),
    ),
    conditions,
    ...transferStatus,
    resticrepository: optional(string('The repository that holds the backup.')),
    sourcePVCData: optional(object('The claim whose snapshot this is.', sourceClaim)),
    volumeSnapshotClassName: optional(string('The class of the snapshot.', NAME)),
    base: optional(
      object('The earlier backup that gives what was not read.', {
        snapshotID: string('Its restic snapshot.', SNAPSHOT_ID),
      }),
    ),
    changes: optional(
      object('How it was known what changed since the base.', {
        mechanism: enumOf('The best that the storage allowed.', [
          'zfs-send-increment',
          'rbd-export-diff',
          'rbd-diff-by-snap-id',
          'rbd-object-map',
          'allocated-extents',
          'everything',
        ]),
        because: optional(string('Why nothing better.', { maxLength: 1024 })),
      }),
    ),
    amounts: optional(
      object('What was moved, in bytes.', {
        read: count('Read from the storage.'),
        changed: optional(count('Differs from the base.')),
        uploaded: count('New to the repository, as stored there.'),
        deduplicated: optional(count('Read, and known to the repository already.')),
      }),
    ),
    format: optional(enumOf('How the repository keeps it.', ['image', 'stream'])),
    completed: optional(boolean("Of OADP's schema; nobody ever wrote it.")),
    replicationSourceData: optional(
      object("VolSync's part in OADP 1.2; never written here.", {
        name: optional(string('Name of the ReplicationSource.')),
        startTimestamp: optional(timestamp('When it began.')),
        completionTimestamp: optional(timestamp('When it ended.')),
      }),
    ),
  },
  [
    ...STATUS_RULES,
    {
      rule: "!has(self.phase) || self.phase != 'Completed' || (has(oldSelf.phase) && oldSelf.phase == 'Completed') || has(self.snapshotID)",
      message: 'a completed backup names its snapshot: snapshotID is missing',
    },
  ],
);

/** One snapshot of a volume on its way into a repository: the unit of work of every backup. Also the record of what came of it. */
export const volumeSnapshotBackup = kind({
  group: 'datamover.oadp.openshift.io',
  version: 'v1alpha1',
  kind: 'VolumeSnapshotBackup',
  plural: 'volumesnapshotbackups',
  shortNames: ['vsb'],
  scope: 'Namespaced',
  description: 'Moves a snapshot of a volume into a restic repository.',
  spec,
  status,
  // An agent watches those of its node alone.
  selectable: ['.status.node'],
  columns: [
    column('PVC Name', '.status.sourcePVCData.name'),
    column('VolumeSnapshotContent', '.spec.volumeSnapshotContent.name'),
    column('Phase', '.status.phase'),
    column('BatchingStatus', '.status.batchingStatus'),
    column('Driver', '.status.storage.driver'),
    column('%', '.status.progress.percent', { type: 'integer' }),
    column('Moved', '.status.moved'),
    AGE,
    wide('Changes', '.status.changes.mechanism'),
    wide('Snapshot', '.status.snapshotID'),
    wide('Node', '.status.node'),
    wide('Message', '.status.message'),
  ],
});

export type VolumeSnapshotBackup = ObjectOfKind<typeof volumeSnapshotBackup>;
export type VolumeSnapshotBackupSpec = TypeOf<typeof spec>;
export type VolumeSnapshotBackupStatus = TypeOf<typeof status>;
