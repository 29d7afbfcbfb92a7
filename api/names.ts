/** Names that others rely on: labels, annotations, finalizers, conditions, reasons. docs/kubernetes.md says what each is for. */

/** `spec.datamover` of Velero's objects and `spec.mover` of a DataMoverClass that are for this software. */
export const MOVER = 'datamover.io';

/** OADP's. */
export const FINALIZER = 'oadp.openshift.io/oadp-datamover';

export const LABELS = {
  /** On a VolumeSnapshotBackup: OADP's; the name of its VolumeSnapshotContent, shortened as derived-names.ts does. */
  snapshotContent: 'datamover.io/vsb-volumesnapshotcontent',
  /** On whatever is made for one of them: its name, shortened as derived-names.ts does. OADP's. */
  backup: 'datamover.oadp.openshift.io/vsb',
  restore: 'datamover.oadp.openshift.io/vsr',
  /** On a VolumeSnapshotRestore: OADP's. */
  restoredFrom: 'velero.io/vsb-name',
  /** On secrets, leases and helper volumes: the transfer they belong to. */
  transfer: 'datamover.io/transfer',
  /** On a VolumeSnapshot that stays as the base of the next backup: the UID of its claim. */
  baseOf: 'datamover.io/base-of',
  /** On what a BackupSchedule made: its name. */
  schedule: 'datamover.io/schedule',
} as const;

/**
 * On the copy of a VolumeSnapshotBackup within a Velero backup, where its status would be lost: what a restore needs of it.
 * The first five are OADP's.
 */
export const BACKUP_ANNOTATIONS = {
  repository: 'datamover.io/restic-repository',
  claimName: 'datamover.io/source-pvc-name',
  claimSize: 'datamover.io/source-pvc-size',
  storageClass: 'datamover.io/source-pvc-storageclass',
  snapshotClass: 'datamover.io/source-pvc-volumesnapshotclass',
  volumeMode: 'datamover.io/source-pvc-volumemode',
  accessModes: 'datamover.io/source-pvc-accessmodes',
  namespace: 'datamover.io/source-namespace',
  snapshotID: 'datamover.io/snapshot-id',
  backupTarget: 'datamover.io/backup-target',
} as const;

export const ANNOTATIONS = {
  /** On a claim: the DataMoverClass that moves it. */
  class: 'datamover.io/class',
  /** On a claim that a restore filled: the UID of the VolumeSnapshotRestore, so that no second one does. */
  restoredBy: 'datamover.io/restored-by',
  /** On a VolumeSnapshot that stays as a base: its own UID. A copy that somebody made with all its labels has another, and is not ours to delete. */
  keptAs: 'datamover.io/kept-as',
  /**
   * On the copies of a claim, its VolumeSnapshot and its VolumeSnapshotContent within a Velero backup: the VolumeSnapshotBackup that
   * carried the volume away.
   */
  movedBy: 'datamover.io/moved-by',
  /** On a DataUpload or DataDownload whose transfer cannot be made yet: seconds since it was accepted, as controllers have counted them. */
  acceptedFor: 'datamover.io/accepted-for',
} as const;

/** `status.conditions[].type` of VolumeSnapshotBackup and VolumeSnapshotRestore, in the order in which they become true. */
export const CONDITIONS = {
  /** OADP's: the last look at the object went well. */
  reconciled: 'Reconciled',
  /** Driver, place on the storage and repository are known. */
  resolved: 'Resolved',
  /** A node has it. */
  assigned: 'Assigned',
  /** The bytes are there. */
  transferred: 'Transferred',
  /** Nothing that was made for it is left. */
  cleanedUp: 'CleanedUp',
} as const;

/** Of BackupTarget: it answers, and its repositories open. */
export const AVAILABLE = 'Available';

/** Reasons of conditions and events. */
export const REASONS = {
  complete: 'Complete',
  error: 'Error',
  queued: 'Queued',
  processing: 'Processing',
  retrying: 'Retrying',
  canceled: 'Canceled',
  timedOut: 'TimedOut',
  /** The class of another vendor's mover has it. */
  notOurs: 'NotOurs',
  snapshotMissing: 'SnapshotMissing',
  snapshotNotReady: 'SnapshotNotReady',
  driverUnknown: 'DriverUnknown',
  /** The snapshot belongs to another namespace, the target is closed to this one, or the repository is not the target's. */
  notAllowed: 'NotAllowed',
  secretMissing: 'SecretMissing',
  wrongPassword: 'WrongPassword',
  repositoryMissing: 'RepositoryMissing',
  repositoryLocked: 'RepositoryLocked',
  backupMissing: 'BackupMissing',
  storeUnavailable: 'StoreUnavailable',
  nodeLost: 'NodeLost',
  nodeUnavailable: 'NodeUnavailable',
  agentDied: 'AgentDied',
  targetTooSmall: 'TargetTooSmall',
  targetInUse: 'TargetInUse',
  ownerGone: 'OwnerGone',
  fullRead: 'FullRead',
  transferFailed: 'TransferFailed',
} as const;
export type Reason = (typeof REASONS)[keyof typeof REASONS];

/**
 * Failures of an attempt that may pass by themselves: the reason of the condition `Transferred` tells the controller whether to try
 * again (K-21).
 */
export const RETRYABLE_REASONS: ReadonlySet<Reason> = new Set<Reason>([
  REASONS.transferFailed,
  REASONS.timedOut,
  REASONS.repositoryLocked,
  REASONS.storeUnavailable,
  REASONS.nodeLost,
  REASONS.nodeUnavailable,
  REASONS.agentDied,
]);

/** Coordination leases, in the mover's namespace. */
export const LEASES = {
  /** Who of the controllers works. */
  controller: 'datamover-controller',
  /** Which agents live: `datamover-agent-NODE`. */
  agent: (node: string): string => `datamover-agent-${node}`,
  /** The heartbeat of one transfer. */
  transfer: (transferID: string): string => `datamover-transfer-${transferID}`,
} as const;

/** On the lease of a node's agent: how the controller finds it, and what it may assign to it (K-17). */
export const AGENT_LEASE = {
  /** A label: the node's name, shortened as derived-names.ts does. */
  label: 'datamover.io/agent',
  /** Annotations: the node's whole name; the drivers that it reaches, separated by commas. */
  node: 'datamover.io/node',
  drivers: 'datamover.io/drivers',
} as const;

/** The secret with which the child of one transfer opens its repository, in the mover's namespace. */
export function transferSecretName(transferID: string): string {
  return `datamover-transfer-${transferID}`;
}
