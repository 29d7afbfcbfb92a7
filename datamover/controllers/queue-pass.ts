import { CONDITIONS, REASONS } from '../../api/names.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { KindClient } from '../kubernetes/client.ts';
import type { Reconciled } from '../kubernetes/workqueue.ts';
import type { Ages } from './ages.ts';
import { nextAttemptMs, planAssignments, restOf, type LiveAgent } from './assignment.ts';
import type { Log } from './log.ts';
import type { ControllerSettings } from './settings.ts';
import type { TransferCache } from './transfer-cache.ts';
import {
  isBackup,
  namingOf,
  transferIdOfObject,
  writeStatus,
  type ConditionChange,
  type StatusChange,
  type TransferObject,
} from './transfer-object.ts';

export interface QueuePassParts {
  readonly settings: ControllerSettings;
  readonly transfers: TransferCache;
  readonly backups: KindClient<VolumeSnapshotBackup>;
  readonly restores: KindClient<VolumeSnapshotRestore>;
  readonly agents: () => readonly LiveAgent[];
  /** Transfers at once of a target that says so itself; its key is that of `targetKey`. */
  readonly targetLimit: (target: string) => number | undefined;
  readonly ages: Ages;
  readonly log: Log;
}

/** An agent that dies tells nobody: who waits for one is looked at again. */
const HOMELESS_AGAIN_MS = 5_000;
/** One that was only found so far shows within a few seconds whether it lives. */
const UNSURE_AGAIN_MS = 1_000;

/** Gives a node to those whose turn it is (K-11, K-16). From the assignment on its place counts as taken. */
export async function runQueue(parts: QueuePassParts): Promise<Reconciled> {
  const { settings, transfers, agents, targetLimit, ages } = parts;
  const rest = restOf(ages, settings.retryBackoff);
  const all = transfers.list();
  const limits = {
    cluster: settings.maxTransfers,
    node: settings.maxTransfersPerNode,
    target: (target: string) => targetLimit(target) ?? settings.maxTransfersPerTarget,
  };
  const { assignments, homeless, unsure } = planAssignments(all, agents(), limits, rest);
  const byUid = new Map(all.map((object) => [object.metadata.uid, object]));
  for (const { uid, node } of assignments) {
    const object = byUid.get(uid);
    if (object !== undefined) await assignTo(parts, object, node);
  }
  for (const object of homeless) await tellHomeless(parts, object);
  const next = nextAttemptMs(transfers.list(), rest);
  const again = Math.min(
    next ?? Infinity,
    homeless.length > 0 ? HOMELESS_AGAIN_MS : Infinity,
    unsure ? UNSURE_AGAIN_MS : Infinity,
  );
  return again === Infinity ? undefined : { againAfterMs: again };
}

async function assignTo(parts: QueuePassParts, object: TransferObject, node: string): Promise<void> {
  const { operation, subject } = namingOf(object);
  const message = `${operation} ${subject}: node ${node} has room for it`;
  const attempts = (object.status?.attempts ?? 0) + 1;
  const assigned = { type: CONDITIONS.assigned, status: 'True', reason: REASONS.queued, message } as const;
  parts.log.info(
    { transfer: transferIdOfObject(object), node, attempt: attempts },
    `assigned: ${operation} ${subject}`,
  );
  await write(parts, object, { node, attempts, message }, [assigned]);
}

async function tellHomeless(parts: QueuePassParts, object: TransferObject): Promise<void> {
  const { operation, subject } = namingOf(object);
  const { node, storage } = object.status ?? {};
  const where = node === undefined ? 'on any node' : `on node ${node}`;
  const message = `${operation} ${subject}: no agent with the driver ${storage?.driver ?? ''} works ${where}`;
  if (object.status?.message === message) return;
  const reason = REASONS.nodeUnavailable;
  await write(parts, object, { message }, [{ type: CONDITIONS.assigned, status: 'False', reason, message }]);
}

async function write(
  { backups, restores, transfers }: QueuePassParts,
  object: TransferObject,
  change: StatusChange,
  conditions: readonly ConditionChange[],
): Promise<void> {
  try {
    const written = isBackup(object)
      ? await writeStatus(backups, object, change, conditions)
      : await writeStatus(restores, object, change, conditions);
    transfers.remember(written);
  } catch (error) {
    // It has changed meanwhile, which calls the queue again.
    if (!isApiError(error, 'conflict', 'missing')) throw error;
  }
}
