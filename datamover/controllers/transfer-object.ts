import { FINALIZER } from '../../api/names.ts';
import { transferIdOf } from '../../api/derived-names.ts';
import { volumeSnapshotBackup, type VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import type { Lasted, TransferStorage } from '../../api/transfer.ts';
import { findCondition, withCondition, type Condition } from '../kubernetes/conditions.ts';
import type { Applied, KindClient } from '../kubernetes/client.ts';
import type { KubernetesObject, Stored } from '../kubernetes/object.ts';
import type { Ages } from './ages.ts';
import { LONGEST_MESSAGE } from './failure.ts';
import type { ConditionView, TransferView } from './transfer-plan.ts';

export type TransferKind = VolumeSnapshotBackup | VolumeSnapshotRestore;

/** A VolumeSnapshotBackup or a VolumeSnapshotRestore. */
export type TransferObject = Stored<VolumeSnapshotBackup> | Stored<VolumeSnapshotRestore>;

export function isBackup(object: TransferObject): object is Stored<VolumeSnapshotBackup> {
  return object.kind === volumeSnapshotBackup.kind;
}

export function operationOf(object: TransferObject): 'backup' | 'restore' {
  return isBackup(object) ? 'backup' : 'restore';
}

export function transferIdOfObject(object: TransferObject): string {
  const kind = isBackup(object) ? 'VolumeSnapshotBackup' : 'VolumeSnapshotRestore';
  return transferIdOf(kind, object.metadata.uid);
}

/** For sentences: `back up shop/db`, `restore shop/db`. */
export function namingOf(object: TransferObject): { readonly operation: string; readonly subject: string } {
  const claim = isBackup(object)
    ? object.status?.sourcePVCData?.name
    : (object.spec.target?.claimName ?? object.spec.volumeSnapshotMoverBackupRef.sourcePVCData.name);
  const operation = isBackup(object) ? 'back up' : 'restore';
  return { operation, subject: `${object.metadata.namespace ?? ''}/${claim ?? object.metadata.name}` };
}

/** Where its repository comes from, as limits count it: transfers to one place share its limit. */
export function targetKey({ spec }: TransferObject): string {
  const name =
    spec.backupTarget === undefined
      ? `secret/${spec.resticSecretRef?.name ?? ''}`
      : `target/${spec.backupTarget}`;
  return `${spec.protectedNamespace}/${name}`;
}

/** The controller's fields of a status (docs/kubernetes.md); null takes one away. */
export interface StatusChange {
  readonly phase?: string;
  readonly message?: string;
  readonly batchingStatus?: 'Queued' | 'Processing' | 'Completed';
  readonly transferID?: string;
  readonly node?: string | null;
  readonly attempts?: number;
  readonly nextAttemptTimestamp?: string | null;
  readonly lasted?: readonly Lasted[] | null;
  readonly storage?: TransferStorage;
  readonly resticrepository?: string;
  readonly sourcePVCData?: NonNullable<VolumeSnapshotBackup['status']>['sourcePVCData'];
  readonly volumeSnapshotClassName?: string;
  readonly completionTimestamp?: string;
  readonly volumeSnapshotContentName?: string;
  readonly snapshotHandle?: string;
  readonly volumeName?: string;
}

const FIELDS = [
  ...['phase', 'message', 'batchingStatus', 'transferID', 'node', 'attempts', 'nextAttemptTimestamp'],
  ...['storage', 'resticrepository', 'sourcePVCData', 'volumeSnapshotClassName', 'completionTimestamp'],
  ...['volumeSnapshotContentName', 'snapshotHandle', 'volumeName', 'lasted'],
];
const CONDITIONS = ['Reconciled', 'Resolved', 'Assigned', 'CleanedUp'];

export type ConditionChange = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/**
 * Writes the controller's fields by server-side apply (K-20): those it had, with the changes. Only on top of what was read: an agent
 * that wrote meanwhile makes it a conflict, and the object is looked at again.
 */
export async function writeStatus<T extends TransferKind>(
  client: KindClient<T>,
  object: Stored<T>,
  change: StatusChange,
  conditions: readonly ConditionChange[],
): Promise<Stored<T>> {
  const { namespace = '', name, resourceVersion } = object.metadata;
  const before: Readonly<Record<string, unknown>> = { ...object.status };
  const own = FIELDS.map((field): [string, unknown] => [field, before[field]]);
  const changed: Readonly<Record<string, unknown>> = {
    ...Object.fromEntries(own),
    ...change,
    ...(change.message === undefined ? {} : { message: change.message.slice(0, LONGEST_MESSAGE) }),
  };
  const kept = (object.status?.conditions ?? []).filter(({ type }) => CONDITIONS.includes(type));
  const status: Readonly<Record<string, unknown>> = {
    ...Object.fromEntries(
      Object.entries(changed).filter(([, value]) => value !== undefined && value !== null),
    ),
    conditions: conditions.reduce<readonly Condition[]>(
      (all, next) => withCondition(all, { ...next, observedGeneration: object.metadata.generation ?? 0 }),
      kept,
    ),
  };
  const applied: unknown = { metadata: { namespace, name, resourceVersion }, status };
  return client.apply(applied as Applied<T>, { subresource: 'status' });
}

/** The object as plans see it, with how long something has been so (K-19). */
export function viewOf(object: TransferObject, ages: Ages): TransferView {
  const { metadata, spec, status } = object;
  const { deletionTimestamp } = metadata;
  const claimed = (status?.claimedBy ?? '') !== '';
  /** `limited` is the state of it that may not last: for how long it did is kept through restarts. */
  const condition = (
    type: 'Resolved' | 'Assigned' | 'Transferred' | 'CleanedUp',
    limited: 'True' | 'False' | undefined,
  ): ConditionView | undefined => {
    const found = findCondition(status?.conditions, type);
    if (found === undefined) return undefined;
    const { reason, message, lastTransitionTime } = found;
    // From the moment on that an agent may take it: what is made ready before is the controller's own time.
    const stage = type === 'Assigned' ? ` ${status?.batchingStatus ?? ''}` : '';
    const as = `${found.status} ${lastTransitionTime}${stage}`;
    const forMs = ages.of(object, type, as, found.status === limited ? Infinity : 0);
    return { status: found.status, reason, message, forMs };
  };
  return {
    phase: status?.phase,
    batchingStatus: status?.batchingStatus,
    deletedForMs:
      deletionTimestamp === undefined ? undefined : ages.of(object, 'deletion', deletionTimestamp),
    hasFinalizer: metadata.finalizers?.includes(FINALIZER) === true,
    cancel: spec.cancel === true,
    claimed,
    attempts: status?.attempts ?? 0,
    resolved: condition('Resolved', 'False'),
    // Once claimed, the agent is on its way.
    assigned: condition('Assigned', claimed ? undefined : 'True'),
    transferred: condition('Transferred', 'True'),
    cleanedUp: condition('CleanedUp', 'False'),
  };
}

/** RFC 3339 to the second, as metav1.Time. */
export function timestampOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Adds or takes away the finalizer, only on top of what was read. */
export async function setFinalizer<T extends KubernetesObject>(
  client: KindClient<T>,
  object: Stored<T>,
  there: boolean,
): Promise<Stored<T>> {
  const { namespace, name, resourceVersion, finalizers = [] } = object.metadata;
  const others = finalizers.filter((finalizer) => finalizer !== FINALIZER);
  const metadata = { resourceVersion, finalizers: there ? [...others, FINALIZER] : others };
  const patch: unknown = { metadata };
  return client.patch(namespace, name, patch as Parameters<typeof client.patch>[2]);
}
