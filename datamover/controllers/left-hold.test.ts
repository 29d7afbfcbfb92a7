import { expect, test } from '@jest/globals';
import { volumeSnapshotBackup, type VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { Stored } from '../kubernetes/object.ts';
import { leftHold } from './left-hold.ts';

type Status = NonNullable<VolumeSnapshotBackup['status']>;
type Condition = NonNullable<Status['conditions']>[number];

function condition(type: string, status: Condition['status'], reason: string): Condition {
  return { type, status, reason, message: reason, lastTransitionTime: '2026-01-01T00:00:00Z' };
}

const BEGUN = { startTimestamp: '2026-01-01T00:00:00Z' };

function ended(
  conditions: readonly Condition[],
  more: Partial<Status> = BEGUN,
): Stored<VolumeSnapshotBackup> {
  const storage = { driver: 'rbd', location: 'rbd/x@x', bytes: 1 } as const;
  return {
    apiVersion: `${volumeSnapshotBackup.group}/v1alpha1`,
    kind: volumeSnapshotBackup.kind,
    metadata: { namespace: 'shop', name: 'b', uid: 'u', resourceVersion: '1' },
    spec: { volumeSnapshotContent: { name: 'c' }, protectedNamespace: 'velero' },
    status: { storage, conditions: [...conditions], ...more },
  };
}

const carried = condition('Transferred', 'Unknown', 'Processing');

test.each([
  ['while it was carried', [condition('Assigned', 'True', 'Processing'), carried]],
  ['before another attempt, its node being lost', [condition('Assigned', 'False', 'NodeLost')]],
  ['before another attempt, no agent being there', [condition('Assigned', 'False', 'NodeUnavailable')]],
  ['with another attempt given to a node that had not begun', [condition('Assigned', 'True', 'Queued')]],
])('what may be held is told of one that ended %s', (_, conditions) => {
  expect(leftHold(ended(conditions))).toMatch(
    /^rbd:rbd\/x@x may .*DATAMOVER_TRANSFER=\w+ datamover cleanup rbd:rbd\/x@x lets/,
  );
});

test.each([
  ['that an agent ended in order', ended([condition('Transferred', 'False', 'Canceled')])],
  ['that failed in order before', ended([condition('Assigned', 'False', 'StoreUnavailable')])],
  ['that nobody had begun', ended([condition('Assigned', 'True', 'Processing')], {})],
  [
    'of a storage that the next backup cleans up',
    ended([carried], { ...BEGUN, storage: { driver: 'zfs', location: 't/x@x', bytes: 1 } }),
  ],
])('nothing is told of one %s', (_, object) => {
  expect(leftHold(object)).toBeUndefined();
});
