import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  LEASE_GRACE_MS,
  planTransfer,
  retryDelayMs,
  type ConditionView,
  type PlanSettings,
  type Surroundings,
  type TransferView,
} from './transfer-plan.ts';

const SETTINGS: PlanSettings = {
  ...{ retries: 5, snapshotTimeout: 600_000, claimTimeout: 300_000, stallTimeout: 1_800_000 },
  ...{ cleanupTimeout: 300_000, nodeTimeout: 14_400_000 },
};

function condition(status: ConditionView['status'], reason = 'Complete', forMs = 0): ConditionView {
  return { status, reason, message: `because ${reason}`, forMs };
}

/** A transfer that waits in the queue. */
const QUEUED: TransferView = {
  ...{ phase: 'InProgress', batchingStatus: 'Queued', deletedForMs: undefined, hasFinalizer: true },
  ...{ cancel: false, claimed: false, attempts: 1, resolved: condition('True') },
  ...{ assigned: condition('False', 'Queued'), transferred: undefined, cleanedUp: undefined },
};
/** One that an agent carries. */
const RUNNING: TransferView = {
  ...QUEUED,
  ...{ batchingStatus: 'Processing', claimed: true, assigned: condition('True', 'Processing') },
};
const CALM: Surroundings = {
  ...{ ours: true, orphaned: undefined, lease: 'free', unheldForMs: 0, stillForMs: 0, agentAlive: true },
  homelessForMs: 0,
};
const HELD: Surroundings = { ...CALM, lease: 'held' };

const plan = (view: Partial<TransferView>, around: Partial<Surroundings> = {}) =>
  planTransfer({ ...QUEUED, ...view }, { ...CALM, ...around }, SETTINGS);
const carried = (view: Partial<TransferView>, around: Partial<Surroundings> = {}) =>
  planTransfer({ ...RUNNING, ...view }, { ...CALM, ...around }, SETTINGS);

const anyCondition = fc.option(
  fc.record<ConditionView>({
    status: fc.constantFrom('True', 'False', 'Unknown'),
    reason: fc.constantFrom('Processing', 'WrongPassword', 'StoreUnavailable', 'Queued'),
    message: fc.constant('because'),
    forMs: fc.nat(4_000_000),
  }),
  { nil: undefined },
);
const anyView = fc.record<TransferView>({
  phase: fc.constantFrom(
    ...[undefined, 'InProgress', 'SnapshotBackupDone', 'SnapshotRestoreDone', 'Cleanup'],
    ...['Completed', 'Failed', 'PartiallyFailed', 'Canceled'],
  ),
  batchingStatus: fc.constantFrom(undefined, 'Queued', 'Processing', 'Completed'),
  deletedForMs: fc.option(fc.nat(600_000), { nil: undefined }),
  hasFinalizer: fc.boolean(),
  cancel: fc.boolean(),
  claimed: fc.boolean(),
  attempts: fc.nat(8),
  ...{ resolved: anyCondition, assigned: anyCondition, transferred: anyCondition, cleanedUp: anyCondition },
});
const anySurroundings = fc.record<Surroundings>({
  ours: fc.boolean(),
  orphaned: fc.constantFrom(undefined, 'its Backup is gone'),
  lease: fc.constantFrom('held', 'free', 'expired'),
  unheldForMs: fc.nat(100_000),
  stillForMs: fc.nat(4_000_000),
  homelessForMs: fc.nat(20_000_000),
  agentAlive: fc.boolean(),
});
const always = (check: (view: TransferView, around: Surroundings) => void): void =>
  fc.assert(fc.property(anyView, anySurroundings, check), { numRuns: 2_000 });

describe('the plan of a transfer', () => {
  it('begins only what is ours', () => {
    expect(plan({ phase: undefined, hasFinalizer: false })).toEqual({ do: 'begin' });
    expect(plan({ phase: undefined, hasFinalizer: false }, { ours: false })).toEqual({ do: 'leave' });
  });

  it('resolves until it is resolved, and fails with the reason when that takes too long', () => {
    expect(plan({ resolved: undefined })).toEqual({ do: 'resolve' });
    expect(plan({ resolved: condition('False', 'SnapshotNotReady', 599_999) })).toEqual({ do: 'resolve' });
    expect(plan({ resolved: condition('False', 'SnapshotNotReady', 600_000) })).toEqual({
      ...{ do: 'end', phase: 'Failed', reason: 'SnapshotNotReady', message: 'because SnapshotNotReady' },
    });
  });

  it('prepares what the queue has assigned', () => {
    expect(plan({})).toEqual({ do: 'leave' });
    expect(plan({ assigned: condition('True', 'Queued') })).toEqual({ do: 'prepare' });
  });

  it('K-15: takes a claim away only when nobody holds the lease', () => {
    expect(plan({ claimed: true }, HELD)).toMatchObject({ do: 'wait' });
    expect(plan({ claimed: true })).toEqual({ do: 'release' });
    always((view, around) => {
      if (planTransfer(view, around, SETTINGS).do !== 'release') return;
      expect(around.lease).not.toBe('held');
    });
  });

  it('K-15: a lease that ran out puts the transfer back into the queue', () => {
    expect(carried({}, { unheldForMs: LEASE_GRACE_MS - 1 })).toMatchObject({ do: 'wait' });
    expect(carried({}, { unheldForMs: LEASE_GRACE_MS })).toMatchObject({
      ...{ do: 'requeue', reason: 'AgentDied' },
    });
    expect(carried({}, { lease: 'expired' })).toMatchObject({ do: 'requeue', reason: 'AgentDied' });
    expect(carried({}, { unheldForMs: LEASE_GRACE_MS, agentAlive: false })).toMatchObject({
      ...{ do: 'requeue', reason: 'NodeLost' },
    });
  });

  it('K-21: tries again what may pass, as often as it is told, and fails at once what does not', () => {
    const passing = condition('False', 'StoreUnavailable');
    expect(carried({ transferred: passing })).toEqual({
      ...{ do: 'requeue', reason: 'StoreUnavailable', message: 'because StoreUnavailable' },
    });
    expect(carried({ transferred: passing }, HELD)).toMatchObject({ do: 'wait' });
    expect(carried({ transferred: passing, attempts: 5 })).toMatchObject({ do: 'requeue' });
    expect(carried({ transferred: passing, attempts: 6 })).toMatchObject({ do: 'end', phase: 'Failed' });
    expect(carried({ transferred: condition('False', 'WrongPassword') })).toMatchObject({
      ...{ do: 'end', phase: 'Failed', reason: 'WrongPassword' },
    });
    // Its own program of an earlier attempt may have been killed a moment ago.
    expect(carried({ transferred: condition('False', 'TargetInUse') })).toMatchObject({ do: 'requeue' });
    expect([1, 2, 3, 30].map((attempts) => retryDelayMs(attempts, 30_000))).toEqual([
      ...[30_000, 60_000, 120_000, 600_000],
    ]);
  });

  it('gives up on an agent that does not claim, and on a transfer that stands still', () => {
    expect(carried({ claimed: false })).toMatchObject({ do: 'wait' });
    expect(carried({ claimed: false, assigned: condition('True', 'Processing', 300_000) })).toMatchObject({
      ...{ do: 'requeue', reason: 'NodeUnavailable' },
    });
    expect(carried({ claimed: false }, { agentAlive: false })).toMatchObject({ reason: 'NodeLost' });
    expect(carried({}, { ...HELD, stillForMs: 1_800_000 })).toMatchObject({
      ...{ do: 'requeue', reason: 'TimedOut' },
    });
  });

  it('K-15: gives up what waits for a node that does not come back, with the reason that it had', () => {
    const waiting = { assigned: condition('False', 'NodeUnavailable') };
    expect(plan(waiting, { homelessForMs: 14_399_999 })).toEqual({ do: 'leave' });
    expect(plan(waiting, { homelessForMs: 14_400_000 })).toMatchObject({
      ...{ do: 'end', phase: 'Failed', reason: 'NodeUnavailable', message: 'because NodeUnavailable' },
    });
    expect(plan({ assigned: condition('True') }, { homelessForMs: 14_400_000 })).toMatchObject({
      do: 'prepare',
    });
  });

  it('K-30: ends at once what nobody has, and what an agent has when it let go', () => {
    const canceled = { do: 'end', phase: 'Canceled' };
    expect(plan({ cancel: true })).toMatchObject({ ...canceled, reason: 'Canceled' });
    expect(plan({}, { orphaned: 'Backup velero/b is Failed' })).toMatchObject({
      ...{ ...canceled, reason: 'OwnerGone', message: 'Backup velero/b is Failed' },
    });
    const stopping = { cancel: true, cleanedUp: condition('False', 'Canceled', 1_000) };
    expect(carried({ cancel: true }, HELD)).toMatchObject({ do: 'stop' });
    expect(carried(stopping, HELD)).toMatchObject({ do: 'wait' });
    expect(carried(stopping)).toMatchObject(canceled);
    const patience = { cancel: true, cleanedUp: condition('False', 'Canceled', 300_000) };
    expect(carried(patience, HELD)).toMatchObject(canceled);
    always((view, around) => {
      const step = planTransfer(view, around, SETTINGS);
      if (step.do !== 'end' || step.phase !== 'Canceled' || !view.claimed || around.lease !== 'held') return;
      expect(view.cleanedUp?.forMs).toBeGreaterThanOrEqual(SETTINGS.cleanupTimeout);
    });
  });

  it('K-31: an end is final, and its finalizer goes when all is gone, or when its time is over', () => {
    always((view, around) => {
      const step = planTransfer(view, around, SETTINGS);
      if (['Completed', 'Failed', 'PartiallyFailed', 'Canceled'].includes(view.phase ?? ''))
        expect(['leave', 'cleanUp', 'letGo']).toContain(step.do);
      if ((view.deletedForMs ?? 0) >= SETTINGS.cleanupTimeout) expect(['leave', 'letGo']).toContain(step.do);
      if (step.do === 'letGo' && !step.left) expect(view.cleanedUp?.status).toBe('True');
    });
    expect(plan({ phase: 'Completed', cleanedUp: condition('True') })).toEqual({ do: 'letGo', left: false });
    expect(plan({ phase: 'Failed', cleanedUp: condition('False') })).toEqual({ do: 'cleanUp' });
    expect(plan({ phase: 'Failed', cleanedUp: condition('False'), deletedForMs: 300_000 })).toEqual({
      ...{ do: 'letGo', left: true },
    });
  });

  it('goes on from the bytes to the end', () => {
    expect(plan({ phase: 'SnapshotBackupDone' })).toEqual({ do: 'finish' });
    expect(plan({ phase: 'Cleanup' })).toEqual({ do: 'cleanUp' });
  });
});
