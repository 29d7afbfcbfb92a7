import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { durationMs, planMove, type MoveView } from './move-plan.ts';

const ACCEPTED: MoveView = {
  ...{
    what: 'restore shop/db',
    phase: 'Accepted',
    cancel: false,
    deleted: false,
    hasFinalizer: true,
    acceptedForMs: 0,
    timeoutMs: 600_000,
  },
  ...{ transfer: undefined, obstacle: undefined },
};
const running = { phase: 'InProgress', cancel: false, carried: true, message: undefined };

const anyView = fc.record<MoveView>({
  what: fc.constant('restore shop/db'),
  phase: fc.constantFrom(
    undefined,
    '',
    'New',
    'Accepted',
    'Prepared',
    'InProgress',
    'Canceling',
    'Canceled',
    'Failed',
    'Completed',
  ),
  ...{ cancel: fc.boolean(), deleted: fc.boolean(), hasFinalizer: fc.boolean() },
  ...{ acceptedForMs: fc.nat(1_000_000), timeoutMs: fc.constant(600_000) },
  transfer: fc.option(
    fc.record({
      phase: fc.constantFrom(
        undefined,
        'InProgress',
        'SnapshotBackupDone',
        'Cleanup',
        'Completed',
        'Failed',
        'PartiallyFailed',
        'Canceled',
      ),
      ...{ cancel: fc.boolean(), carried: fc.boolean(), message: fc.constantFrom(undefined, '', 'why') },
    }),
    { nil: undefined },
  ),
  obstacle: fc.option(fc.record({ cause: fc.constant('why'), final: fc.boolean() }), { nil: undefined }),
});

describe("the plan for one of Velero's objects", () => {
  it('accepts, makes a transfer, and tells how it goes', () => {
    expect(planMove({ ...ACCEPTED, phase: '', hasFinalizer: false })).toEqual({ do: 'accept' });
    expect(planMove(ACCEPTED)).toEqual({ do: 'makeTransfer' });
    expect(planMove({ ...ACCEPTED, transfer: { ...running, carried: false } })).toEqual({
      do: 'mirror',
      phase: 'Accepted',
    });
    expect(planMove({ ...ACCEPTED, transfer: running })).toEqual({ do: 'mirror', phase: 'InProgress' });
    expect(planMove({ ...ACCEPTED, transfer: { ...running, phase: 'Completed' } })).toMatchObject({
      do: 'end',
      phase: 'Completed',
    });
    expect(planMove({ ...ACCEPTED, phase: 'Completed' })).toEqual({ do: 'letGo' });
    expect(planMove({ ...ACCEPTED, phase: 'Completed', hasFinalizer: false })).toEqual({ do: 'leave' });
  });

  it('waits for what may come, as long as Velero does, and fails at once on what will not', () => {
    const obstacle = { cause: 'there is no VolumeSnapshot', final: false };
    expect(planMove({ ...ACCEPTED, obstacle })).toEqual({ do: 'wait' });
    const failed = { do: 'end', phase: 'Failed', message: obstacle.cause };
    expect(planMove({ ...ACCEPTED, obstacle, acceptedForMs: 600_000 })).toEqual(failed);
    expect(planMove({ ...ACCEPTED, obstacle: { ...obstacle, final: true } })).toEqual(failed);
  });

  it('cancels: at once before there is a transfer, else through the transfer', () => {
    // It is accepted all the same: with the finalizer goes what Velero left to the mover.
    expect(planMove({ ...ACCEPTED, phase: '', hasFinalizer: false, cancel: true })).toEqual({ do: 'accept' });
    expect(planMove({ ...ACCEPTED, cancel: true })).toEqual({
      ...{ do: 'end', phase: 'Canceled', message: 'restore shop/db: it was canceled' },
    });
    expect(planMove({ ...ACCEPTED, cancel: true, transfer: running })).toEqual({ do: 'cancelTransfer' });
    expect(planMove({ ...ACCEPTED, deleted: true, transfer: running })).toEqual({ do: 'cancelTransfer' });
    const stopping = { ...running, cancel: true };
    expect(planMove({ ...ACCEPTED, cancel: true, transfer: stopping })).toEqual({
      do: 'mirror',
      phase: 'Canceling',
    });
    const canceled = { ...stopping, phase: 'Canceled', message: 'Backup is gone' };
    expect(planMove({ ...ACCEPTED, cancel: true, transfer: canceled })).toMatchObject({ phase: 'Canceled' });
    expect(planMove({ ...ACCEPTED, transfer: canceled })).toEqual({
      do: 'end',
      phase: 'Failed',
      message: 'Backup is gone',
    });
  });

  it('never fails without a message, which Velero would take for a success, and never works for what is deleted', () => {
    fc.assert(
      fc.property(anyView, (view) => {
        const step = planMove(view);
        if (step.do === 'end' && step.phase === 'Failed') expect(step.message).not.toBe('');
        if (view.deleted) expect(step.do).not.toBe('accept');
        if (view.deleted || view.cancel) expect(step.do).not.toBe('makeTransfer');
        if (['Completed', 'Failed', 'Canceled'].includes(view.phase ?? ''))
          expect(['leave', 'letGo']).toContain(step.do);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['10m0s', 600_000],
    ['1h30m0s', 5_400_000],
    ['500ms', 500],
    ['', 7],
    ['soon', 7],
    [undefined, 7],
  ])('reads the duration %j', (text, ms) => expect(durationMs(text, 7)).toBe(ms));
});
