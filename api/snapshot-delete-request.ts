import { conditions, NAME, nameReference, NAMESPACE_NAME } from './references.ts';
import { AGE, column, kind, wide, type ObjectOfKind } from './schema/kind.ts';
import {
  count,
  enumOf,
  immutable,
  object,
  optional,
  string,
  timestamp,
  type TypeOf,
} from './schema/schema.ts';
import { lastedStatus } from './transfer.ts';

const spec = object(
  'Which backup is to go.',
  {
    resticSecretRef: immutable(
      optional(nameReference('The secret that leads to the repository, in this namespace.')),
    ),
    backupTarget: immutable(
      optional(
        string('The BackupTarget that holds it, in this namespace, instead of resticSecretRef.', NAME),
      ),
    ),
    resticrepository: immutable(string('The repository; it must be one of the secret or the target.')),
    sourceNamespace: immutable(string("The claim's namespace when it was backed up.", NAMESPACE_NAME)),
    claim: immutable(optional(string('The claim.', NAME))),
    snapshotID: immutable(
      string('The restic snapshot, all of it.', { pattern: '^[0-9a-f]{64}$', maxLength: 64 }),
    ),
  },
  [
    {
      rule: 'has(self.resticSecretRef) != has(self.backupTarget)',
      message: 'give either resticSecretRef or backupTarget',
    },
  ],
);

const status = object(
  'What became of it.',
  {
    phase: optional(enumOf('How far it is.', ['InProgress', 'Completed', 'Failed'])),
    conditions,
    message: optional(string('What is happening or what went wrong, in one sentence.', { maxLength: 4096 })),
    attempts: optional(count('How often it was begun.')),
    nextAttemptTimestamp: optional(timestamp('When it is tried again after a failure that may pass.')),
    lasted: lastedStatus,
    startTimestamp: optional(timestamp('When it was begun first.')),
    completionTimestamp: optional(timestamp('When it ended.')),
  },
  [
    {
      rule: "!has(oldSelf.phase) || !(oldSelf.phase in ['Completed', 'Failed']) || (has(self.phase) && self.phase == oldSelf.phase)",
      message: 'a request that has ended stays in its phase',
    },
    {
      rule: "!has(self.phase) || self.phase != 'Failed' || (has(self.message) && size(self.message) > 0)",
      message: 'a failure says why: message is missing',
    },
  ],
);

/**
 * The wish that one backup's data be freed, kept until it is done: a Velero backup may be deleted while the bucket is down. It lies in
 * the protected namespace, under the name that `snapshotDeleteRequestName` gives. A backup that is not there any more is a success.
 */
export const snapshotDeleteRequest = kind({
  group: 'datamover.io',
  version: 'v1alpha1',
  kind: 'SnapshotDeleteRequest',
  plural: 'snapshotdeleterequests',
  shortNames: ['dmd'],
  scope: 'Namespaced',
  description: 'Has one backup removed from its repository.',
  spec,
  status,
  columns: [
    column('Namespace', '.spec.sourceNamespace'),
    column('PVC Name', '.spec.claim'),
    column('Snapshot', '.spec.snapshotID'),
    column('Phase', '.status.phase'),
    AGE,
    wide('Repository', '.spec.resticrepository'),
    wide('Message', '.status.message'),
  ],
});

export type SnapshotDeleteRequest = ObjectOfKind<typeof snapshotDeleteRequest>;
export type SnapshotDeleteRequestSpec = TypeOf<typeof spec>;
export type SnapshotDeleteRequestStatus = TypeOf<typeof status>;
