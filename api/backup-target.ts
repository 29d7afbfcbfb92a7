import { conditions, DURATION, nameReference, NAMESPACE_NAME } from './references.ts';
import { AGE, column, kind, wide, type ObjectOfKind } from './schema/kind.ts';
import {
  count,
  enumOf,
  immutable,
  list,
  object,
  optional,
  string,
  timestamp,
  withDefault,
  type TypeOf,
} from './schema/schema.ts';

const limits = object('What transfers to and from it may take together.', {
  transfers: optional(count('Transfers at once.', { minimum: 1, maximum: 1000 })),
  uploadBytesPerSecond: optional(count('Bytes a second up, of each transfer.', { minimum: 1024 })),
  downloadBytesPerSecond: optional(count('Bytes a second down, of each transfer.', { minimum: 1024 })),
});

const spec = object('Where the repositories are, and with what they open.', {
  location: string(
    "A bucket and a prefix in restic's spelling: `s3:https://host/bucket/prefix`. Not below a Velero location's prefix.",
    {
      pattern: '^s3:https?://[^/?#@\\s]+/[^?#\\s]+$',
      maxLength: 1024,
    },
  ),
  region: optional(string("The bucket's region.", { maxLength: 64 })),
  scope: immutable(
    withDefault(
      enumOf(
        'What shares a repository, and so an index, a key and its deduplication: it lies at location/NAMESPACE, location or location/NAMESPACE/CLAIM.',
        ['Namespace', 'Target', 'Volume'],
      ),
      'Namespace',
    ),
  ),
  credentialsSecretRef: nameReference('The secret that holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.'),
  passwordSecretRef: nameReference('The secret that holds RESTIC_PASSWORD.'),
  caSecretRef: optional(nameReference('The secret that holds ca.crt, the authority of the server.')),
  accessMode: withDefault(enumOf('ReadOnly serves restores alone.', ['ReadWrite', 'ReadOnly']), 'ReadWrite'),
  allowedNamespaces: optional(
    list(
      'The namespaces whose volumes may come here and go back from here; all if it is left out.',
      string('A namespace.', NAMESPACE_NAME),
      1000,
    ),
  ),
  limits: optional(limits),
  syncInterval: withDefault(string('How often what the bucket holds is listed.', DURATION), '5m'),
  syncRequestedAt: optional(timestamp('Lists it at once, when this is later than status.lastSyncedAt.')),
});

const status = object('What is known of the bucket.', {
  conditions,
  message: optional(string('What is wrong, in one sentence.', { maxLength: 4096 })),
  available: optional(enumOf('Whether it answered when last asked.', ['True', 'False'])),
  lastSyncedAt: optional(timestamp('When it was last listed to the end.')),
  volumes: optional(count('Volumes found.')),
  backups: optional(count('Backups found.')),
  storedBytes: optional(count('Bytes in the bucket.')),
  stored: optional(string('The same for people: `1.4 TiB`.', { maxLength: 40 })),
});

/** A bucket with restic repositories: where backups go. Its secrets lie in the same namespace. */
export const backupTarget = kind({
  group: 'datamover.io',
  version: 'v1alpha1',
  kind: 'BackupTarget',
  plural: 'backuptargets',
  shortNames: ['dmt'],
  scope: 'Namespaced',
  description: 'A bucket that holds restic repositories.',
  spec,
  status,
  columns: [
    column('Location', '.spec.location'),
    column('Scope', '.spec.scope'),
    column('Access', '.spec.accessMode'),
    column('Available', '.status.available'),
    column('Backups', '.status.backups', { type: 'integer' }),
    column('Stored', '.status.stored'),
    column('Synced', '.status.lastSyncedAt', { type: 'date' }),
    AGE,
    wide('Message', '.status.message'),
  ],
});

export type BackupTarget = ObjectOfKind<typeof backupTarget>;
export type BackupTargetSpec = TypeOf<typeof spec>;
export type BackupTargetStatus = TypeOf<typeof status>;
