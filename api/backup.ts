import { conditions, NAME, SNAPSHOT_ID } from './references.ts';
import { AGE, column, kind, wide, type ObjectOfKind } from './schema/kind.ts';
import {
  count,
  enumOf,
  immutable,
  map,
  object,
  optional,
  string,
  timestamp,
  withDefault,
  type TypeOf,
} from './schema/schema.ts';
import { verification } from './transfer.ts';

const spec = object('Which backup this stands for, and what becomes of it.', {
  backupVolume: immutable(string('Name of the BackupVolume.', NAME)),
  snapshotID: immutable(string('The restic snapshot that holds it.', SNAPSHOT_ID)),
  deletionPolicy: withDefault(
    enumOf(
      'What deleting this object does to the bucket: nothing (Retain), or forget the snapshot (Delete).',
      ['Retain', 'Delete'],
    ),
    'Retain',
  ),
  verifyRequestedAt: optional(timestamp('Reads it back, when this is later than the last verification.')),
});

const status = object('What the bucket says of it.', {
  phase: optional(enumOf('How it is.', ['Ready', 'Damaged', 'Deleting'])),
  conditions,
  message: optional(string('What is wrong, in one sentence.', { maxLength: 4096 })),
  time: optional(timestamp('The moment that it holds.')),
  bytes: optional(count('Size of the volume.')),
  size: optional(string('The same for people: `20 GiB`.', { maxLength: 40 })),
  driver: optional(string('The driver that made it.', { maxLength: 63 })),
  format: optional(enumOf('How the repository keeps it.', ['image', 'stream', 'files'])),
  cluster: optional(string('The cluster it came from.', { maxLength: 253 })),
  tags: optional(map('The tags of its restic snapshot.', string('The value.'))),
  verification: optional(verification),
});

/** One backup of a volume, as the bucket holds it. */
export const backup = kind({
  group: 'datamover.io',
  version: 'v1alpha1',
  kind: 'Backup',
  plural: 'backups',
  shortNames: ['dmb'],
  scope: 'Namespaced',
  description: 'One backup in a BackupTarget. Made and removed with what the bucket holds.',
  spec,
  status,
  columns: [
    column('Volume', '.spec.backupVolume'),
    column('Snapshot', '.spec.snapshotID'),
    column('Phase', '.status.phase'),
    column('Driver', '.status.driver'),
    column('Size', '.status.size'),
    column('Verified', '.status.verification.state'),
    column('Time', '.status.time', { type: 'date' }),
    AGE,
    wide('Message', '.status.message'),
  ],
});

export type Backup = ObjectOfKind<typeof backup>;
export type BackupSpec = TypeOf<typeof spec>;
export type BackupStatus = TypeOf<typeof status>;
