import type { Log } from '../goplugin/log.ts';

/**
 * What an action is, without gRPC: an object of one of these types in table.ts. Everything that a call needs to remember lies in the
 * cluster, for Velero starts a new process for every backup, every poll of a running operation and every deletion.
 */

/** `datamover.io/NAME`: Velero wants a domain, one slash and a name. */
export type ActionName = `datamover.io/${string}`;

/** A Kubernetes object as Velero hands it over: whole, with `status`. */
export interface KubernetesItem {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ItemMetadata;
  readonly [field: string]: unknown;
}

export interface ItemMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** The parts of velero.io/v1 Backup and Restore that actions look at; the rest is there too. */
export interface VeleroBackup extends KubernetesItem {
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: { readonly phase?: string; readonly [field: string]: unknown };
}

export interface VeleroRestore extends KubernetesItem {
  readonly spec: { readonly backupName?: string; readonly [field: string]: unknown };
  readonly status?: { readonly phase?: string; readonly [field: string]: unknown };
}

/** Which items Velero asks the action about; a list that is left out is empty, and an empty selector takes everything. */
export interface ResourceSelector {
  readonly includedNamespaces?: readonly string[];
  readonly excludedNamespaces?: readonly string[];
  /** Plural names with their group: `volumesnapshotcontents.snapshot.storage.k8s.io`. */
  readonly includedResources?: readonly string[];
  readonly excludedResources?: readonly string[];
  /** A label selector. */
  readonly selector?: string;
}

export interface ResourceIdentifier {
  readonly group: string;
  /** Plural. */
  readonly resource: string;
  /** Left out for cluster-scoped objects. */
  readonly namespace?: string;
  readonly name: string;
}

/** How far an operation is that goes on after `execute`. */
export type OperationProgress =
  | {
      readonly state: 'running';
      /** One line for `velero backup describe --details`. */
      readonly description: string;
      /** Bytes, as far as they are known. */
      readonly done?: number;
      readonly total?: number;
      /** When work began; Velero calls an operation InProgress from then on. */
      readonly started?: Date;
      readonly updated?: Date;
    }
  | {
      readonly state: 'completed';
      readonly description: string;
      readonly done?: number;
      readonly total?: number;
      readonly started?: Date;
      readonly updated?: Date;
    }
  | { readonly state: 'failed'; /** The sentence that Velero shows. */ readonly message: string };

/** What the host's command line and environment say, and what belongs to this call. */
export interface ActionContext {
  readonly log: Log;
  /** Fires when the host hangs up, and when the call has taken its `timeLimit`: Velero itself sets none. */
  readonly signal: AbortSignal;
  /** Velero's feature flags, such as `EnableCSI`. */
  readonly features: ReadonlySet<string>;
  /** A path, when Velero was given one; else the environment and the pod's service account tell of the cluster. */
  readonly kubeconfig: string | undefined;
  /** The namespace in which Velero runs. */
  readonly veleroNamespace: string;
  /** Since when the Velero server runs that started us; undefined where that cannot be told. */
  readonly hostStarted?: Date | undefined;
}

/**
 * Thrown by `progress` when the answer cannot be had just now (the API server is away): Velero counts an error there as the operation's
 * end, so it is told "not yet" with this message.
 */
export class AskAgain extends Error {
  override readonly name = 'AskAgain';
}

interface Action {
  readonly name: ActionName;
  /** Asked once for every backup, restore or deletion; an error fails all of it. */
  appliesTo(context: ActionContext): ResourceSelector | Promise<ResourceSelector>;
  /** Milliseconds until a call is given up; ten minutes without it. */
  readonly timeLimit?: number;
}

export interface BackupOutcome {
  /** The item as it is to be backed up; left out when it stays as it is. */
  readonly item?: KubernetesItem;
  /** Backed up before the item itself. */
  readonly additionalItems?: readonly ResourceIdentifier[];
}

/** For Velero servers without version 2, and for actions that are done when they return. */
export interface BackupItemAction extends Action {
  readonly kind: 'BackupItemAction';
  execute(item: KubernetesItem, backup: VeleroBackup, context: ActionContext): Promise<BackupOutcome>;
}

export interface BackupOutcomeV2 extends BackupOutcome {
  /** Names what goes on after the call; `progress` and `cancel` get it back. Never while the backup's phase is Finalizing. */
  readonly operationID?: string;
  /**
   * Fetched anew and backed up again when the operation has ended. Never PVCs, PVs or pods: Velero's finalizer fails on them (a panic with EnableCSI).
   */
  readonly postOperationItems?: readonly ResourceIdentifier[];
}

export interface BackupItemActionV2 extends Action {
  readonly kind: 'BackupItemActionV2';
  execute(item: KubernetesItem, backup: VeleroBackup, context: ActionContext): Promise<BackupOutcomeV2>;
  /** Asked every ten seconds, each time in a new process. An error other than `AskAgain` fails the operation for good. */
  progress(operationID: string, backup: VeleroBackup, context: ActionContext): Promise<OperationProgress>;
  /** Called once when the operation has taken too long; nobody hears of an error. */
  cancel(operationID: string, backup: VeleroBackup, context: ActionContext): Promise<void>;
}

/** What a restore action is asked about. */
export interface RestoreInput {
  /** As it will be created: without status and most metadata. */
  readonly item: KubernetesItem;
  /** As it lies in the backup: look here for uid, status and annotations. */
  readonly itemFromBackup: KubernetesItem;
  readonly restore: VeleroRestore;
}

export interface RestoreOutcome {
  /** The item as it is to be created; left out when it stays as it is. */
  readonly item?: KubernetesItem;
  /** Restored at once, before other actions see the item; ignored with `skipRestore`. */
  readonly additionalItems?: readonly ResourceIdentifier[];
  /** The item is not created, and actions after this one are not asked. */
  readonly skipRestore?: boolean;
}

export interface RestoreItemAction extends Action {
  readonly kind: 'RestoreItemAction';
  execute(input: RestoreInput, context: ActionContext): Promise<RestoreOutcome>;
}

export interface RestoreOutcomeV2 extends RestoreOutcome {
  /** Recorded also with `skipRestore`. */
  readonly operationID?: string;
  /** Velero then asks `areAdditionalItemsReady` every second before it creates the item, for `seconds` at most (its own limit with 0). */
  readonly waitForAdditionalItems?: { readonly seconds: number };
}

export interface RestoreItemActionV2 extends Action {
  readonly kind: 'RestoreItemActionV2';
  execute(input: RestoreInput, context: ActionContext): Promise<RestoreOutcomeV2>;
  progress(operationID: string, restore: VeleroRestore, context: ActionContext): Promise<OperationProgress>;
  cancel(operationID: string, restore: VeleroRestore, context: ActionContext): Promise<void>;
  /** Needed only by actions that ask to wait; without it they are ready. */
  areAdditionalItemsReady?(
    items: readonly Required<ResourceIdentifier>[],
    restore: VeleroRestore,
    context: ActionContext,
  ): Promise<boolean>;
}

/** Runs for items in the backup's archive, not in the cluster. Must succeed when what it deletes is gone already. */
export interface DeleteItemAction extends Action {
  readonly kind: 'DeleteItemAction';
  execute(item: KubernetesItem, backup: VeleroBackup, context: ActionContext): Promise<void>;
}

/** Makes the store for a BackupStorageLocation; called before anything else, again after a restart of the process. */
export interface ObjectStoreProvider {
  readonly kind: 'ObjectStore';
  readonly name: ActionName;
  /** `config` holds the location's `config` and `bucket`, `prefix`, `caCert` (PEM), `credentialsFile` (a path). */
  open(config: Readonly<Record<string, string>>, log: Log): Promise<ObjectStore>;
}

/** Velero's archives of backups and restores; a `signal` fires when the host hangs up. */
export interface ObjectStore {
  put(bucket: string, key: string, body: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void>;
  exists(bucket: string, key: string): Promise<boolean>;
  /** Fails when there is no such object. */
  get(bucket: string, key: string, signal: AbortSignal): Promise<AsyncIterable<Buffer>>;
  /** Whole prefixes, each with the delimiter at its end. */
  listCommonPrefixes(bucket: string, prefix: string, delimiter: string): Promise<string[]>;
  /** Whole keys in the order of their bytes. */
  listObjects(bucket: string, prefix: string): Promise<string[]>;
  delete(bucket: string, key: string): Promise<void>;
  /** A URL from which anybody can GET the object for `seconds`. */
  signedUrl(bucket: string, key: string, seconds: number): Promise<string>;
}

export type ItemAction =
  BackupItemAction | BackupItemActionV2 | RestoreItemAction | RestoreItemActionV2 | DeleteItemAction;

export type RegisteredAction = ItemAction | ObjectStoreProvider;
