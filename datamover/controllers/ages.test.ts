import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Stored } from '../kubernetes/object.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { Ages } from './ages.ts';
import { nextAttemptMs, planAssignments, restOf } from './assignment.ts';
import { moveViewOf } from './velero/move-reconciler.ts';
import { viewOf } from './transfer-object.ts';
import { planTransfer, type Surroundings } from './transfer-plan.ts';

/** A double: a steady clock that a test moves. The timestamps of objects are of the other clock, which may say anything. */
class SteadyClockDouble {
  now = 1_000;
  readonly read = (): number => this.now;
}

const BACK_OFF_MS = 30_000;
const SETTINGS = {
  ...{ retries: 5, snapshotTimeout: 600_000, claimTimeout: 300_000, stallTimeout: 1_800_000 },
  ...{ cleanupTimeout: 300_000, nodeTimeout: 14_400_000 },
};
const AROUND: Surroundings = {
  ...{ ours: true, orphaned: undefined, lease: 'free', unheldForMs: 0, stillForMs: 0, agentAlive: true },
  homelessForMs: 0,
};
const LIMITS = { cluster: 9, node: 9, target: () => 9 };
const AGENTS = [{ node: 'n1', drivers: ['zfs'] }];

type Status = NonNullable<VolumeSnapshotBackup['status']>;

function backup(status: Partial<Status>, more: object = {}): Stored<VolumeSnapshotBackup> {
  return {
    ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind: 'VolumeSnapshotBackup' },
    metadata: {
      ...{ name: 'one', namespace: 'shop', uid: 'u-1', resourceVersion: '1' },
      ...{ finalizers: ['oadp.openshift.io/oadp-datamover'], ...more },
    },
    spec: { protectedNamespace: 'velero', volumeSnapshotContent: { name: 'content' } },
    status: { phase: 'InProgress', ...status },
  };
}

const condition = (type: string, status: 'True' | 'False', lastTransitionTime: string) => ({
  ...{ type, status, reason: 'Processing', message: 'because', lastTransitionTime },
});

/** Any moment that a clock of the day may have said when it was written. */
const moment = fc
  .integer({ min: 0, max: 4_000_000_000 })
  .map((seconds) => new Date(seconds * 1000).toISOString().replace('.000', ''));

describe('K-19: time limits count from when this process saw a thing, by its own steady clock', () => {
  it('starts anew when the thing changes, when it ended, and for an object of another UID', () => {
    const clock = new SteadyClockDouble();
    const ages = new Ages(clock.read);
    expect(ages.of('u-1', 'deletion', 'x')).toBe(0);
    clock.now += 5;
    expect(ages.of('u-1', 'deletion', 'x')).toBe(5);
    expect(ages.of('u-2', 'deletion', 'x')).toBe(0);
    expect(ages.of('u-1', 'deletion', 'y')).toBe(0);
    clock.now += 5;
    ages.end('u-1', 'deletion');
    expect(ages.of('u-1', 'deletion', 'y')).toBe(0);
    clock.now += 5;
    ages.forget('u-2');
    expect(ages.of('u-2', 'deletion', 'x')).toBe(0);
  });

  it('nothing of what is deleted, or of what has ended, is remembered', () => {
    const ages = new Ages();
    const changes: ((change: { type: string; object: { metadata: { uid: string } } }) => void)[] = [];
    // An informer, as far as it tells of changes: a double.
    ages.follow({ onChange: (handler) => changes.push(handler) });
    const tell = (type: string): void =>
      changes.forEach((handler) => handler({ type, object: { metadata: { uid: 'u-1' } } }));
    const uploaded = (phase: 'Accepted' | 'Completed') =>
      moveViewOf(
        {
          ...{ apiVersion: 'velero.io/v2alpha1', kind: 'DataUpload' },
          metadata: { name: 'up', namespace: 'velero', uid: 'u-1', resourceVersion: '1' },
          spec: {
            ...{ snapshotType: 'CSI', sourceNamespace: 'shop', sourcePVC: 'db' },
            ...{ backupStorageLocation: 'default', operationTimeout: '10m0s' },
          },
          status: { phase, acceptedTimestamp: '2026-03-01T02:00:00Z' },
        },
        undefined,
        undefined,
        ages,
      );
    uploaded('Accepted');
    tell('updated');
    expect(ages.size).toBe(1);
    tell('deleted');
    expect(ages.size).toBe(0);
    uploaded('Completed');
    expect(ages.size).toBe(0);
  });

  /** What is planned at the first look, just before `limitMs`, and just after. */
  function plannedAt(object: Stored<VolumeSnapshotBackup>, limitMs: number): readonly string[] {
    const clock = new SteadyClockDouble();
    const ages = new Ages(clock.read);
    const look = (): string => planTransfer(viewOf(object, ages), AROUND, SETTINGS).do;
    const first = look();
    clock.now += limitMs - 1;
    const before = look();
    clock.now += 1;
    return [first, before, look()];
  }

  it('a snapshot that does not become ready, whatever the clocks said', () => {
    fc.assert(
      fc.property(moment, (at) => {
        const object = backup({ conditions: [condition('Resolved', 'False', at)] });
        expect(plannedAt(object, SETTINGS.snapshotTimeout)).toEqual(['resolve', 'resolve', 'end']);
      }),
    );
  });

  it('an assignment that no agent takes, whatever the clocks said', () => {
    fc.assert(
      fc.property(moment, (at) => {
        const conditions = [condition('Resolved', 'True', at), condition('Assigned', 'True', at)];
        const object = backup({ conditions, batchingStatus: 'Processing', attempts: 1 });
        expect(plannedAt(object, SETTINGS.claimTimeout)).toEqual(['wait', 'wait', 'requeue']);
      }),
    );
  });

  it('a deletion, whatever the clocks said', () => {
    fc.assert(
      fc.property(moment, (deletionTimestamp) => {
        const object = backup({ phase: 'Failed' }, { deletionTimestamp });
        expect(plannedAt(object, SETTINGS.cleanupTimeout)).toEqual(['cleanUp', 'cleanUp', 'letGo']);
      }),
    );
  });

  it('the rest before another attempt, whatever the clocks said', () => {
    fc.assert(
      fc.property(moment, fc.integer({ min: 1, max: 5 }), (nextAttemptTimestamp, attempts) => {
        const clock = new SteadyClockDouble();
        const rest = restOf(new Ages(clock.read), BACK_OFF_MS);
        const object = backup({
          ...{ batchingStatus: 'Queued', attempts, nextAttemptTimestamp },
          storage: { driver: 'zfs', location: 'tank/one@snap' },
        });
        const given = (): number => planAssignments([object], AGENTS, LIMITS, rest).assignments.length;
        const wait = BACK_OFF_MS * 2 ** (attempts - 1);
        expect([given(), nextAttemptMs([object], rest)]).toEqual([0, wait]);
        clock.now += wait - 1;
        expect([given(), nextAttemptMs([object], rest)]).toEqual([0, 1]);
        clock.now += 1;
        expect([given(), nextAttemptMs([object], rest)]).toEqual([1, undefined]);
      }),
    );
  });
});
