import { REASONS, RETRYABLE_REASONS, type Reason } from '../../api/names.ts';
import { FINAL_PHASES } from '../../api/transfer.ts';
import type { ControllerSettings } from './settings.ts';

/**
 * What a transfer needs next, decided from what was seen of it and from nothing else. Backups and restores go the same way:
 *
 *     begin -> resolve -> (queue: assign) -> prepare -> the agent's part -> finish -> cleanUp -> letGo
 *
 * with `requeue` after an attempt that failed and `end` where nothing follows.
 */
export interface TransferView {
  readonly phase: string | undefined;
  readonly batchingStatus: 'Queued' | 'Processing' | 'Completed' | undefined;
  readonly deletedForMs: number | undefined;
  readonly hasFinalizer: boolean;
  readonly cancel: boolean;
  readonly claimed: boolean;
  readonly attempts: number;
  readonly resolved: ConditionView | undefined;
  readonly assigned: ConditionView | undefined;
  readonly transferred: ConditionView | undefined;
  readonly cleanedUp: ConditionView | undefined;
}

export interface ConditionView {
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  /** Milliseconds since its status last changed. */
  readonly forMs: number;
}

/** What else was looked at. */
export interface Surroundings {
  readonly ours: boolean;
  /** Why nobody wants the transfer any more: its owner is gone or has failed. */
  readonly orphaned: string | undefined;
  /** Whether somebody keeps the transfer's lease alive; `expired`: the attempt's agent did, and no longer does. */
  readonly lease: 'held' | 'free' | 'expired';
  /** Milliseconds for which a claimed transfer has had no lease held. */
  readonly unheldForMs: number;
  /** Milliseconds for which a claimed transfer has shown no progress. */
  readonly stillForMs: number;
  /** Milliseconds for which no agent that reaches the storage of a queued transfer lives. */
  readonly homelessForMs: number;
  /** Whether the assigned node's agent lives. */
  readonly agentAlive: boolean;
}

export type Step =
  | { readonly do: 'leave' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'begin' }
  | { readonly do: 'resolve' }
  /** Secret and repository, then Processing. */
  | { readonly do: 'prepare' }
  | { readonly do: 'requeue'; readonly reason: Reason; readonly message: string }
  /** Takes `claimedBy` away from an attempt that is over. */
  | { readonly do: 'release' }
  /** Tells the agent to stop, and waits for it. */
  | { readonly do: 'stop'; readonly reason: Reason; readonly message: string }
  | {
      readonly do: 'end';
      readonly phase: 'Failed' | 'Canceled';
      readonly reason: Reason;
      readonly message: string;
    }
  /** The bytes are there: what the controller adds. */
  | { readonly do: 'finish' }
  | { readonly do: 'cleanUp' }
  | { readonly do: 'letGo'; readonly left: boolean };

export type PlanSettings = Pick<
  ControllerSettings,
  'retries' | 'snapshotTimeout' | 'claimTimeout' | 'stallTimeout' | 'cleanupTimeout' | 'nodeTimeout'
>;

/** A lease lasts 30 s (K-13); an agent that claimed gets that long to take it. */
export const LEASE_GRACE_MS = 35_000;
/** Between two looks at a transfer that somebody else has to move on. */
const LOOK_AGAIN_MS = 5_000;

export function planTransfer(view: TransferView, around: Surroundings, settings: PlanSettings): Step {
  if (isFinal(view.phase)) return planEnd(view, settings);
  if (view.deletedForMs !== undefined && !view.hasFinalizer) return { do: 'leave' };
  if (view.phase === undefined || !view.hasFinalizer) {
    if (!around.ours || view.deletedForMs !== undefined) return { do: 'leave' };
    return { do: 'begin' };
  }
  if (view.deletedForMs !== undefined && view.deletedForMs >= settings.cleanupTimeout)
    return { do: 'letGo', left: view.cleanedUp?.status !== 'True' };
  const unwanted = unwantedBecause(view, around);
  if (unwanted !== undefined && view.phase !== 'Cleanup')
    return planStop(view, around, settings, ...unwanted);
  switch (view.phase) {
    case 'Cleanup':
      return { do: 'cleanUp' };
    case 'InProgress':
      return planProgress(view, around, settings);
    default:
      return { do: 'finish' };
  }
}

function isFinal(phase: string | undefined): boolean {
  return FINAL_PHASES.some((final) => final === phase);
}

function planEnd(view: TransferView, { cleanupTimeout }: PlanSettings): Step {
  if (!view.hasFinalizer) return { do: 'leave' };
  if (view.cleanedUp?.status === 'True') return { do: 'letGo', left: false };
  if ((view.deletedForMs ?? 0) >= cleanupTimeout) return { do: 'letGo', left: true };
  return { do: 'cleanUp' };
}

function unwantedBecause(view: TransferView, { orphaned }: Surroundings): [Reason, string] | undefined {
  if (view.cancel) return [REASONS.canceled, 'it was canceled'];
  if (view.deletedForMs !== undefined) return [REASONS.canceled, 'its object was deleted'];
  return orphaned === undefined ? undefined : [REASONS.ownerGone, orphaned];
}

/** K-30: what nobody claimed ends at once; what an agent has ends when the agent has let go, or has had its time to. */
function planStop(
  view: TransferView,
  around: Surroundings,
  { cleanupTimeout }: PlanSettings,
  reason: Reason,
  message: string,
): Step {
  const stopping = view.cleanedUp?.status === 'False' ? view.cleanedUp.forMs : undefined;
  const running = view.claimed && around.lease === 'held';
  // A claim without a lease may be about to take it.
  const starting = view.claimed && around.lease !== 'held' && stopping === undefined;
  if ((running || starting) && (stopping ?? 0) < cleanupTimeout) {
    return stopping === undefined ? { do: 'stop', reason, message } : { do: 'wait', ms: 1_000 };
  }
  return { do: 'end', phase: 'Canceled', reason, message };
}

function planProgress(view: TransferView, around: Surroundings, settings: PlanSettings): Step {
  const { resolved } = view;
  if (resolved?.status !== 'True') {
    const since = resolved?.forMs ?? 0;
    if (resolved === undefined || since < settings.snapshotTimeout) return { do: 'resolve' };
    return failed(reasonOf(resolved), resolved.message);
  }
  if (view.batchingStatus === 'Processing') return planProcessing(view, around, settings);
  // The attempt before has not let go yet.
  if (view.claimed) {
    return around.lease === 'held' ? { do: 'wait', ms: LOOK_AGAIN_MS } : { do: 'release' };
  }
  if (view.assigned?.status === 'True') return { do: 'prepare' };
  // A node that is gone for good takes its ZFS volumes along.
  if (around.homelessForMs >= settings.nodeTimeout)
    return failed(
      REASONS.nodeUnavailable,
      view.assigned?.message ?? 'no agent that reaches its storage works',
    );
  return { do: 'leave' };
}

function planProcessing(view: TransferView, around: Surroundings, settings: PlanSettings): Step {
  if (!view.claimed) {
    const unclaimed = (view.assigned?.forMs ?? 0) >= settings.claimTimeout;
    if (around.agentAlive && !unclaimed) return { do: 'wait', ms: LOOK_AGAIN_MS };
    if (around.agentAlive)
      return again(view, settings, REASONS.nodeUnavailable, 'no agent took it in time; is it at its limit?');
    return again(view, settings, REASONS.nodeLost, 'the agent of its node ended before it took it');
  }
  const { transferred } = view;
  if (around.lease === 'held') {
    if (transferred?.status === 'False' || around.stillForMs < settings.stallTimeout)
      return { do: 'wait', ms: LOOK_AGAIN_MS };
    return again(view, settings, REASONS.timedOut, 'it made no progress for too long');
  }
  if (transferred?.status === 'False') {
    const reason = reasonOf(transferred);
    // Ceph takes half a minute to see that a program of ours that was killed has its image open no more.
    if (!RETRYABLE_REASONS.has(reason) && reason !== REASONS.targetInUse)
      return failed(reason, transferred.message);
    return again(view, settings, reason, transferred.message);
  }
  // Between the claim and the lease, and between a result and the phase that the agent writes with it.
  if (around.lease === 'free' && around.unheldForMs < LEASE_GRACE_MS)
    return { do: 'wait', ms: LOOK_AGAIN_MS };
  return around.agentAlive
    ? again(view, settings, REASONS.agentDied, 'the agent that carried it ended')
    : again(view, settings, REASONS.nodeLost, 'its node or the agent there is gone');
}

function again(view: TransferView, { retries }: PlanSettings, reason: Reason, message: string): Step {
  // The first attempt is none of the retries.
  return view.attempts <= retries ? { do: 'requeue', reason, message } : failed(reason, message);
}

function failed(reason: Reason, message: string): Step {
  return { do: 'end', phase: 'Failed', reason, message };
}

function reasonOf({ reason }: ConditionView): Reason {
  return Object.values(REASONS).find((known) => known === reason) ?? REASONS.transferFailed;
}

/** When the attempt after this many may begin, in milliseconds from now (K-21). */
export function retryDelayMs(attempts: number, firstMs: number): number {
  return Math.min(600_000, firstMs * 2 ** Math.min(30, Math.max(0, attempts - 1)));
}
