/** What backups and restores of a volume report alike. */
import { NAME, QUANTITY, SNAPSHOT_ID } from './references.ts';
import {
  boolean,
  count,
  enumOf,
  list,
  object,
  optional,
  string,
  timestamp,
  type Fields,
  type Rule,
  type TypeOf,
} from './schema/schema.ts';

/** The phases that nothing follows. */
export const FINAL_PHASES = ['Completed', 'PartiallyFailed', 'Failed', 'Canceled'] as const;
export type FinalPhase = (typeof FINAL_PHASES)[number];

export const sourceClaim = {
  name: optional(string('Name of the claim.', NAME)),
  size: optional(string('Its size, as a quantity.', QUANTITY)),
  storageClassName: optional(string('Its storage class.', NAME)),
  volumeMode: optional(enumOf('How it is used.', ['Filesystem', 'Block'])),
  accessModes: optional(
    list(
      'How it may be mounted.',
      enumOf('One way.', ['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod']),
      4,
    ),
  ),
} as const satisfies Fields;

export const cancel = optional(
  boolean('Stops the transfer and takes away what it left on the storage; it cannot be taken back.'),
);

export const dataMoverClass = optional(
  string(
    'Name of the DataMoverClass that moves this; without it the claim and the default class decide.',
    NAME,
  ),
);

export const progress = object('How far the transfer is.', {
  totalBytes: optional(count('Bytes of the volume.')),
  bytesDone: optional(count('Bytes of the volume that are dealt with.')),
  percent: optional(count('The same as a share, rounded down.', { maximum: 100 })),
  bytesStoredAgain: optional(
    count('Of what a backup keeps of its base: bytes stored anew, since a prune had marked them.'),
  ),
});
export type TransferProgress = TypeOf<typeof progress>;

export const verification = object('Whether the bytes were read back and found right.', {
  state: enumOf('What came out.', ['Running', 'Passed', 'Failed']),
  completionTimestamp: optional(timestamp('When it ended.')),
  bytesRead: optional(count('Bytes read back.')),
  message: optional(string('What was found to be wrong.', { maxLength: 4096 })),
});

/** Where the bytes are on the storage: all that an agent needs to know of the cluster. The controller writes it. */
export const storage = object('The volume on its storage.', {
  driver: enumOf('Which driver reads or writes it.', ['zfs', 'rbd', 'file']),
  location: string("In the storage's own spelling: `pool/dataset@snapshot`, `pool/[namespace/]image@snap`."),
  bytes: optional(count('Its size.')),
});
export type TransferStorage = TypeOf<typeof storage>;

/** What the time limits of transfers count: a condition's state, or what else has lasted. */
export const LASTING = [
  ...(['Resolved', 'Assigned', 'Transferred', 'CleanedUp'] as const),
  ...(['deletion', 'unheld', 'progress', 'homeless', 'next attempt', 'acceptance'] as const),
] as const;
export type Lasting = (typeof LASTING)[number];

const lasted = object('One thing that lasts.', {
  what: enumOf('Which.', LASTING),
  as: string('How it is; as soon as it is otherwise, this says nothing more.', { maxLength: 512 }),
  seconds: count('How long it had been so when this was written.'),
});
/** Kept through restarts of the controller (K-19). */
export type Lasted = TypeOf<typeof lasted>;

export const lastedStatus = optional(
  list(
    "The controller's notes for the one that follows it: for how long what a time limit counts has been so.",
    lasted,
    LASTING.length,
  ),
);

/** Fields of every transfer's status. */
export const transferStatus = {
  message: optional(
    string(
      'What is happening or what went wrong, in one sentence; the conditions and events carry the same.',
      {
        maxLength: 4096,
      },
    ),
  ),
  batchingStatus: optional(enumOf('Its place in the queue.', ['Queued', 'Processing', 'Completed'])),
  transferID: optional(
    string("Follows from the object's UID: in every log line, and the name of the lease and of the secret.", {
      pattern: '^[a-z][a-z0-9]{0,62}$',
      maxLength: 63,
    }),
  ),
  node: optional(string('The node whose agent moves the bytes.', NAME)),
  claimedBy: optional(string("The agent's pod that took it; empty until one has.", { maxLength: 253 })),
  attempts: optional(count('How often it was begun.')),
  nextAttemptTimestamp: optional(timestamp('When it is tried again after a failure that may pass.')),
  lasted: lastedStatus,
  storage: optional(storage),
  snapshotID: optional(string('The restic snapshot that holds the volume.', SNAPSHOT_ID)),
  progress: optional(progress),
  moved: optional(string('What the transfer carried so far, for people: `1.4 GiB`.', { maxLength: 40 })),
  verification: optional(verification),
  startTimestamp: optional(timestamp('When the first agent began.')),
  completionTimestamp: optional(timestamp('When the final phase was reached.')),
} as const satisfies Fields;

/** Fields of an object's spec that hold for every transfer. */
export const CANCEL_STAYS: Rule = {
  rule: '!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)',
  message: 'cancel cannot be taken back: make a new object',
};

const finalWords = FINAL_PHASES.map((phase) => `'${phase}'`).join(', ');

/** How a transfer's status may change. */
export const STATUS_RULES: readonly Rule[] = [
  {
    rule: `!has(oldSelf.phase) || !(oldSelf.phase in [${finalWords}]) || (has(self.phase) && self.phase == oldSelf.phase)`,
    message: 'a transfer that has ended stays in its phase',
  },
  {
    // Velero takes a failure without a message for a success.
    rule: "!has(self.phase) || !(self.phase in ['Failed', 'PartiallyFailed']) || (has(oldSelf.phase) && oldSelf.phase == self.phase) || (has(self.message) && size(self.message) > 0)",
    message: 'a failure says why: message is missing',
  },
  {
    rule: '!has(oldSelf.transferID) || (has(self.transferID) && self.transferID == oldSelf.transferID)',
    message: 'transferID cannot be changed',
  },
  {
    rule: '!has(oldSelf.snapshotID) || (has(self.snapshotID) && self.snapshotID == oldSelf.snapshotID)',
    message: 'snapshotID cannot be changed',
  },
];
