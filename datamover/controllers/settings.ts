/** What the flags of `datamover controller` say; docs/kubernetes.md has them with their defaults. Times are in milliseconds. */
export interface ControllerSettings {
  /** The mover's own. */
  readonly namespace: string;
  readonly protectedNamespaces: readonly string[];
  readonly veleroNamespace?: string;
  readonly zfsNamespace: string;
  readonly cephCsiConfig?: { readonly namespace: string; readonly name: string };
  /** The host of its snapshots; one of its own without it. */
  readonly clusterName?: string;
  /** ConfigMap in the mover's namespace. */
  readonly mapping?: string;
  /** The secret with RESTIC_PASSWORD for repositories that follow from a BackupStorageLocation. */
  readonly credentialSecret: string;
  readonly maxTransfers: number;
  readonly maxTransfersPerNode: number;
  readonly maxTransfersPerTarget: number;
  readonly retries: number;
  readonly retryBackoff: number;
  readonly snapshotTimeout: number;
  readonly claimTimeout: number;
  readonly stallTimeout: number;
  readonly volumeTimeout: number;
  readonly cleanupTimeout: number;
  /** For a node without which a queued transfer cannot begin. */
  readonly nodeTimeout: number;
  readonly resyncInterval: number;
  /** Bytes that a child on a repository may take. */
  readonly childMemory: number;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;

export const DEFAULTS = {
  protectedNamespaces: [],
  zfsNamespace: 'openebs',
  credentialSecret: 'dm-credential',
  maxTransfers: 20,
  maxTransfersPerNode: 2,
  maxTransfersPerTarget: 10,
  retries: 5,
  retryBackoff: 30 * SECOND,
  snapshotTimeout: 10 * MINUTE,
  claimTimeout: 5 * MINUTE,
  stallTimeout: 30 * MINUTE,
  volumeTimeout: 30 * MINUTE,
  cleanupTimeout: 5 * MINUTE,
  nodeTimeout: 240 * MINUTE,
  resyncInterval: 10 * MINUTE,
  childMemory: 512 * 2 ** 20,
} as const satisfies Partial<ControllerSettings>;
