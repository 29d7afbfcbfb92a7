import { AGENT_LEASE, LEASES as LEASE_NAMES } from '../../api/names.ts';
import type { Lease } from '../kubernetes/lease.ts';
import type { Ages } from './ages.ts';
import { assign, type Assignment, type QueuedTransfer, type QueueLimits } from './queue.ts';
import { isBackup, targetKey, type TransferObject } from './transfer-object.ts';
import { retryDelayMs } from './transfer-plan.ts';

/** An agent that lives, as its lease tells (K-17). */
export interface LiveAgent {
  readonly node: string;
  readonly drivers: readonly string[];
  /** Its lease was found, and nobody has seen it renewed yet: it may have died before this controller began. */
  readonly unproven?: true;
}

/** The agent that a lease is of; undefined where it is another kind of lease. */
export function agentOf({ metadata }: Lease): LiveAgent | undefined {
  const node = metadata.annotations?.[AGENT_LEASE.node];
  if (node === undefined || metadata.name !== LEASE_NAMES.agent(node)) return undefined;
  const drivers = metadata.annotations?.[AGENT_LEASE.drivers] ?? '';
  return { node, drivers: drivers.split(',').filter((driver) => driver !== '') };
}

/** Milliseconds until the next attempt of a transfer may begin; zero and less when it may. */
export type Rest = (object: TransferObject) => number;

/** After a failed attempt, by the controller's own steady clock (K-19, K-21): `nextAttemptTimestamp` is for people. */
export function restOf(ages: Ages, retryBackoff: number): Rest {
  return (object) => {
    const { status } = object;
    const next = status?.nextAttemptTimestamp;
    if (next === undefined) {
      ages.end(object, 'next attempt');
      return 0;
    }
    const wait = retryDelayMs(status?.attempts ?? 1, retryBackoff);
    return wait - ages.of(object, 'next attempt', next, wait);
  };
}

/** The queue as it follows from the objects (K-16): what waits, what runs; what is neither is left out. */
export function queueOf(
  transfers: readonly TransferObject[],
  agents: readonly LiveAgent[],
  rest: Rest,
): readonly QueuedTransfer[] {
  return transfers.flatMap((object): QueuedTransfer[] => {
    const state = stateOf(object, agents, rest);
    if (state === undefined) return [];
    const { uid, namespace = '', creationTimestamp } = object.metadata;
    const createdAt = Date.parse(creationTimestamp ?? '') || 0;
    return [{ uid, namespace, createdAt, target: targetKey(object), state }];
  });
}

function stateOf(
  object: TransferObject,
  agents: readonly LiveAgent[],
  rest: Rest,
): QueuedTransfer['state'] | undefined {
  const { spec, status, metadata } = object;
  if (status?.phase !== 'InProgress') return undefined;
  const { node, storage, batchingStatus } = status;
  const claimed = (status.claimedBy ?? '') !== '';
  const assigned = status.conditions?.find(({ type }) => type === 'Assigned')?.status === 'True';
  // Its place is taken from the assignment on until the agent has let go.
  if (node !== undefined && (assigned || claimed)) return { is: 'running', node };
  if (batchingStatus !== 'Queued' || spec.cancel === true || metadata.deletionTimestamp !== undefined)
    return undefined;
  if (storage === undefined || claimed) return undefined;
  const proven = agents.filter(({ unproven }) => unproven !== true);
  return { is: 'waiting', nodes: nodesFor(storage.driver, node, proven), restsMs: rest(object) };
}

/** Those whose agents live and reach the storage: of a storage that belongs to a node, that one alone. */
export function nodesFor(
  driver: string,
  node: string | undefined,
  agents: readonly LiveAgent[],
): readonly string[] {
  return agents
    .filter((agent) => agent.drivers.includes(driver) && (node === undefined || agent.node === node))
    .map((agent) => agent.node);
}

/** Who goes next; with why those who wait for a node do. */
export function planAssignments(
  transfers: readonly TransferObject[],
  agents: readonly LiveAgent[],
  limits: QueueLimits,
  rest: Rest,
): {
  readonly assignments: readonly Assignment[];
  readonly homeless: readonly TransferObject[];
  /** Whether some wait for an agent that has yet to show that it lives. */
  readonly unsure: boolean;
} {
  const queue = queueOf(transfers, agents, rest);
  const stranded = new Set(
    queue.flatMap(({ uid, state }) => (state.is === 'waiting' && state.nodes.length === 0 ? [uid] : [])),
  );
  const waiting = transfers.filter(({ metadata }) => stranded.has(metadata.uid));
  const homeless = waiting.filter(
    ({ status }) => nodesFor(status?.storage?.driver ?? '', status?.node, agents).length === 0,
  );
  return { assignments: assign(queue, limits), homeless, unsure: homeless.length < waiting.length };
}

/** When the next waiting transfer's time comes, in milliseconds from now; undefined when none waits for a time. */
export function nextAttemptMs(transfers: readonly TransferObject[], rest: Rest): number | undefined {
  const times = transfers.flatMap((object) => {
    const { status } = object;
    if (status?.phase !== 'InProgress' || status.batchingStatus !== 'Queued') return [];
    const left = rest(object);
    return left > 0 ? [left] : [];
  });
  return times.length === 0 ? undefined : Math.min(...times);
}

/** The claim whose backup or restore it is, for metrics. */
export function claimOf(object: TransferObject): string | undefined {
  return isBackup(object)
    ? object.status?.sourcePVCData?.name
    : object.spec.volumeSnapshotMoverBackupRef.sourcePVCData.name;
}
