import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Stored } from '../kubernetes/object.ts';
import type { Lasted, Lasting } from '../../api/transfer.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { Ages, type Aged } from './ages.ts';
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

const object = (uid: string, ...lasted: Lasted[]): Aged => ({ metadata: { uid }, status: { lasted } });

describe('K-19: time limits count by steady clocks, and go on when another controller does', () => {
  it('starts anew when the thing changes, when it ended, and for an object of another UID', () => {
    const clock = new SteadyClockDouble();
    const ages = new Ages(clock.read);
    const [one, two] = [object('u-1'), object('u-2')];
    expect(ages.of(one, 'deletion', 'x')).toBe(0);
    clock.now += 5;
    expect(ages.of(one, 'deletion', 'x')).toBe(5);
    expect(ages.of(two, 'deletion', 'x')).toBe(0);
    expect(ages.of(one, 'deletion', 'y')).toBe(0);
    clock.now += 5;
    ages.end(one, 'deletion');
    expect(ages.of(one, 'deletion', 'y')).toBe(0);
    clock.now += 5;
    ages.forget('u-2');
    expect(ages.of(two, 'deletion', 'x')).toBe(0);
  });

  it('goes on from what the object says of the same state, and from nothing else', () => {
    const noted = object('u-1', { what: 'homeless', as: '1', seconds: 40 });
    const looks = (what: Lasting, as: string): number => new Ages(() => 0).of(noted, what, as);
    expect([looks('homeless', '1'), looks('homeless', '2'), looks('progress', '1')]).toEqual([40_000, 0, 0]);
    // What was seen to be otherwise since is not what the note speaks of.
    const ages = new Ages(() => 0);
    ages.of(noted, 'homeless', '2');
    expect(ages.of(noted, 'homeless', '1')).toBe(0);
    ages.end(noted, 'homeless');
    expect(ages.of(noted, 'homeless', '1')).toBe(0);
  });

  it('is noted soon, then seldom, and taken back when it ended', () => {
    const clock = new SteadyClockDouble();
    const ages = new Ages(clock.read);
    let one = object('u-1');
    const notedAt: number[] = [];
    for (let second = 0; second <= 300; second += 5) {
      clock.now = second * 1_000;
      ages.of(one, 'homeless', '1');
      // A state without a limit is not noted.
      ages.of(one, 'Resolved', 'True', 0);
      // What is not due is the same as before, so that nothing is written.
      if (!ages.isDue(one)) expect(ages.notes(one)).toBe(one.status?.lasted);
      else {
        one = object('u-1', ...(ages.notes(one) ?? []));
        expect(one.status?.lasted).toEqual([{ what: 'homeless', as: '1', seconds: second }]);
        notedAt.push(second);
      }
    }
    expect(notedAt).toEqual([10, 30, 70, 130, 190, 250]);
    ages.end(one, 'homeless');
    expect([ages.isDue(one), ages.notes(one)]).toEqual([true, []]);
  });

  it('a note of what this process has not looked at stays', () => {
    const clock = new SteadyClockDouble();
    const ages = new Ages(clock.read);
    const rest: Lasted = { what: 'next attempt', as: 'then', seconds: 7 };
    const one = object('u-1', rest);
    ages.of(one, 'homeless', '1');
    clock.now += 60_000;
    expect(ages.notes(one)).toEqual([rest, { what: 'homeless', as: '1', seconds: 60 }]);
  });

  it('controllers that never live long come to the limit, and never before its time', () => {
    const limitMs = SETTINGS.snapshotTimeout;
    // From looks every five seconds: lives of 15 s and more.
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 3, max: 100 }), { minLength: 1 }), (lives) => {
        const clock = new SteadyClockDouble();
        const conditions = [condition('Resolved', 'False', '2026-03-01T02:00:00Z')];
        let seen = backup({ conditions });
        let livedMs = 0;
        for (let life = 0; ; life += 1) {
          const ages = new Ages(clock.read);
          for (let look = 0; look <= (lives[life % lives.length] ?? 0); look += 1) {
            if (look > 0) [clock.now, livedMs] = [clock.now + 5_000, livedMs + 5_000];
            if (planTransfer(viewOf(seen, ages), AROUND, SETTINGS).do === 'end') {
              expect(livedMs).toBeGreaterThanOrEqual(limitMs);
              expect(livedMs).toBeLessThan(3 * limitMs);
              return;
            }
            seen = backup({ conditions, lasted: ages.notes(seen) ?? [] });
          }
          // Nobody lives for a while, which no one counts.
          clock.now += 3_600_000;
        }
      }),
    );
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
