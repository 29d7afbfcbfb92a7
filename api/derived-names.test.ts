import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { deterministicName, labelValue, snapshotDeleteRequestName, transferIdOf } from './derived-names.ts';

const UID = '5f1c6d3e-2b0a-4b61-9f3e-8f9f7b0f9d11';

test('a short name is its own label value, a longer one ends in its hash', () => {
  const longest = 'a'.repeat(63);
  expect(labelValue(longest)).toBe(longest);
  const long = 'b'.repeat(64);
  const hash = createHash('sha256').update(long).digest('hex');
  expect(labelValue(long)).toBe('b'.repeat(57) + hash.slice(0, 6));
});

test('K-10: a transfer id follows from kind and uid alone', () => {
  expect(transferIdOf('VolumeSnapshotBackup', UID)).toMatch(/^b[0-9a-f]{16}$/);
  expect(transferIdOf('VolumeSnapshotBackup', UID)).toBe(transferIdOf('VolumeSnapshotBackup', UID));
  expect(transferIdOf('VolumeSnapshotRestore', UID)).toMatch(/^r[0-9a-f]{16}$/);
  expect(transferIdOf('VolumeSnapshotBackup', `${UID}0`)).not.toBe(transferIdOf('VolumeSnapshotBackup', UID));
});

test('K-33: the name of a made object tells owner and subject apart', () => {
  expect(deterministicName('vsb', UID, 'snapcontent-1')).toMatch(/^vsb-[0-9a-f]{16}$/);
  expect(deterministicName('vsb', UID, 'snapcontent-1')).toBe(deterministicName('vsb', UID, 'snapcontent-1'));
  expect(deterministicName('vsb', UID, 'snapcontent-1')).not.toBe(
    deterministicName('vsb', UID, 'snapcontent-2'),
  );
});

test('K-33: a snapshot of a repository is asked to go by one name', () => {
  const of = {
    ...{ resticrepository: 's3:https://minio/backups/shop', snapshotID: 'ab'.repeat(32) },
    ...{ sourceNamespace: 'shop', claim: 'db' },
  };
  const name = snapshotDeleteRequestName(of);
  expect(name).toMatch(/^dmd-[0-9a-f]{16}$/);
  expect(name).toBe(snapshotDeleteRequestName({ ...of }));
  const repository = 's3:https://minio/backups/blog';
  for (const other of [{ resticrepository: repository }, { sourceNamespace: 'blog' }, { claim: 'logs' }])
    expect(name).not.toBe(snapshotDeleteRequestName({ ...of, ...other }));
});
