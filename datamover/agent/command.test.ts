import { describe, expect, test } from '@jest/globals';
import { REASONS, RETRYABLE_REASONS } from '../../api/names.ts';
import type { FailureKind } from '../errors.ts';
import { commandFor } from './command.ts';
import { bytesOf, completedStatus, progressStatus, transferred } from './outcome.ts';
import { reasonOf } from './reasons.ts';
import { transferID, type Backup, type Restore, type Transfer } from './transfer.ts';

const metadata = { name: 'one', namespace: 'shop', uid: 'u-1', resourceVersion: '1' };
const common = { protectedNamespace: 'velero', backupTarget: 'main' };

function backup(driver: 'zfs' | 'rbd' | 'file', location: string, base?: string): Transfer {
  const object: Backup = {
    ...{ apiVersion: 'v1', kind: 'VolumeSnapshotBackup', metadata },
    spec: { ...common, volumeSnapshotContent: { name: 'c' }, ...(base !== undefined && { base }) },
    status: { storage: { driver, location }, sourcePVCData: { name: 'db' } },
  };
  return { operation: 'backup', object };
}

function restore(ref: Restore['spec']['volumeSnapshotMoverBackupRef'], verify?: boolean): Transfer {
  const object: Restore = {
    ...{ apiVersion: 'v1', kind: 'VolumeSnapshotRestore', metadata },
    spec: { ...common, volumeSnapshotMoverBackupRef: ref, ...(verify !== undefined && { verify }) },
    status: { storage: { driver: 'zfs', location: 'tank/pvc-1' } },
  };
  return { operation: 'restore', object };
}

const SECRETS = {
  RESTIC_PASSWORD: 'p\u00e4ss',
  AWS_SECRET_ACCESS_KEY: 'very secret',
  'ceph.keyring': 'key of ceph',
};
const CONTEXT = {
  secret: new Map(
    Object.entries({
      ...SECRETS,
      ...{
        RESTIC_REPOSITORY: 's3:https://s3/b',
        'ca.crt': 'PEM',
        'ceph.conf': 'mon',
        'ceph.user': 'mover\n',
      },
      ...{ RESTIC_PASSWORD_COMMAND: 'rm -rf /', PATH: '/evil', NODE_OPTIONS: '--require /evil' },
    }).map(([key, value]) => [key, Buffer.from(value)] as const),
  ),
  folder: '/scratch/t',
  inherited: { RESTIC_PASSWORD_FILE: '/agent/own', AWS_PROFILE: 'agent', PATH: '/bin', DATAMOVER_NODE: 'a' },
};

describe('the command of a child', () => {
  test('of a backup', () => {
    const transfer = backup('zfs', 'tank/pvc-1@snap');
    const { args, env, files } = commandFor(transfer, CONTEXT);
    expect(args).toEqual([
      ...[
        'backup',
        'zfs:tank/pvc-1@snap',
        '--volume',
        'shop/db',
        '--once',
        `transfer=${transferID(transfer)}`,
      ],
    ]);
    expect(env).toEqual({
      ...{ RESTIC_REPOSITORY: 's3:https://s3/b', RESTIC_PASSWORD: SECRETS.RESTIC_PASSWORD },
      ...{ AWS_SECRET_ACCESS_KEY: SECRETS.AWS_SECRET_ACCESS_KEY, RESTIC_HOST: 'kubernetes' },
      ...{ RESTIC_CACERT: '/scratch/t/ca.crt', TMPDIR: '/scratch/t' },
      ...{ RESTIC_PASSWORD_FILE: undefined, AWS_PROFILE: undefined, DATAMOVER_NODE: undefined },
      DATAMOVER_TRANSFER: transferID(transfer),
    });
    expect([...files.keys()]).toEqual(['/scratch/t/ca.crt']);
  });

  test.each(['auto', undefined])('base %s is what the command does by itself', (base) =>
    expect(commandFor(backup('zfs', 'a/b@c', base), CONTEXT).args).not.toContain('--base'),
  );

  test.each(['none', '0123456789abcdef'])('base %s', (base) =>
    expect(commandFor(backup('zfs', 'a/b@c', base), CONTEXT).args.slice(-2)).toEqual(['--base', base]),
  );

  test('of RBD names files for Ceph; the secret’s own go before those of the node', () => {
    const ours = commandFor(backup('rbd', 'pool/image@snap'), {
      ...CONTEXT,
      cephConf: '/etc/ceph/ceph.conf',
    });
    expect(ours.args.slice(-6)).toEqual([
      ...[
        '--ceph-conf',
        '/scratch/t/ceph.conf',
        '--ceph-id',
        'mover',
        '--ceph-keyring',
        '/scratch/t/ceph.keyring',
      ],
    ]);
    expect(ours.files.get('/scratch/t/ceph.keyring')?.toString()).toBe(SECRETS['ceph.keyring']);
    const theirs = commandFor(backup('rbd', 'p/i@s'), {
      ...CONTEXT,
      secret: new Map(),
      cephConf: '/etc/ceph/c',
    });
    expect(theirs.args.slice(-2)).toEqual(['--ceph-conf', '/etc/ceph/c']);
  });

  test('of a restore asks for the volume too, so that no other one’s snapshot is given', () => {
    const named = restore(
      { snapshotID: '01234567', sourceNamespace: 'other', sourcePVCData: { name: 'db' } },
      true,
    );
    expect(commandFor(named, CONTEXT).args).toEqual([
      ...['restore', '01234567', '--to', 'zfs:tank/pvc-1', '--force', '--volume', 'other/db'],
      '--verify-image',
    ]);
    const latest = restore({ sourcePVCData: { name: 'db' } });
    expect(commandFor(latest, CONTEXT).args).toEqual([
      ...['restore', 'latest', '--to', 'zfs:tank/pvc-1', '--force', '--volume', 'shop/db'],
    ]);
  });

  test('K-08: a snapshot’s ID alone opens no volume: its claim has to be named', () => {
    expect(() => commandFor(restore({ snapshotID: '01234567', sourcePVCData: {} }), CONTEXT)).toThrow(
      /the claim that was backed up is not named/,
    );
  });

  test.each([
    ['4194304', ['--limit-upload', '4096']],
    ['1024', ['--limit-upload', '1']],
    ['1 --exec', []],
  ])('a BackupTarget’s limit of %j bytes a second: %j', (bytes, expected) => {
    const secret = new Map([['limit.upload', Buffer.from(bytes)]]);
    const { args } = commandFor(backup('zfs', 'a/b@c'), { ...CONTEXT, secret });
    expect(args.slice(5)).toEqual([`transfer=${transferID(backup('zfs', 'a/b@c'))}`, ...expected]);
  });

  test('K-06: no secret is an argument', () => {
    for (const transfer of [backup('rbd', 'p/i@s'), restore({ sourcePVCData: { name: 'db' } })]) {
      const { args } = commandFor(transfer, CONTEXT);
      for (const secret of Object.values(SECRETS)) expect(args.join(' ')).not.toContain(secret);
    }
  });
});

describe('reasons', () => {
  const failed = { kind: 'failed' as FailureKind, retryable: false };
  test.each([
    [{ ...failed, kind: 'wrong-password' as const }, REASONS.wrongPassword, false],
    [{ ...failed, kind: 'no-repository' as const }, REASONS.repositoryMissing, false],
    [{ ...failed, kind: 'locked' as const }, REASONS.repositoryLocked, true],
    [{ ...failed, kind: 'cancelled' as const }, REASONS.canceled, false],
    [{ ...failed, kind: 'usage' as const, operation: 'find snapshot' }, REASONS.backupMissing, false],
    [{ ...failed, retryable: true, store: 'unreachable' }, REASONS.storeUnavailable, true],
    [{ ...failed, store: 'forbidden' }, REASONS.error, false],
    [{ ...failed, kind: 'target-too-small' as const }, REASONS.targetTooSmall, false],
    [{ ...failed, kind: 'target-in-use' as const }, REASONS.targetInUse, false],
    [{ ...failed, retryable: true }, REASONS.transferFailed, true],
    [failed, REASONS.error, false],
  ])('%j is %s', (said, reason, retried) => {
    expect(reasonOf(said)).toBe(reason);
    expect(RETRYABLE_REASONS.has(reason)).toBe(retried);
  });
});

describe('statuses', () => {
  const now = new Date('2026-11-27T03:04:05.678Z');

  test('of a backup', () => {
    const summary = {
      ...{
        snapshot_id: 'ab'.repeat(32),
        parent: 'cd'.repeat(32),
        format: 'image',
        total_bytes_processed: 4 << 20,
      },
      ...{ bytes_read: 2 << 20, data_added_packed: 1 << 20, deduplicated_bytes: 5 },
      changes: { mechanism: 'zfs-send-increment', because: 'of it' },
    };
    const status = completedStatus('backup', 'shop/db', summary, now);
    expect(status).toEqual({
      ...{ phase: 'SnapshotBackupDone', snapshotID: 'ab'.repeat(32), format: 'image', moved: '2.0 MiB' },
      progress: { totalBytes: 4 << 20, bytesDone: 4 << 20, percent: 100 },
      amounts: { read: 2 << 20, uploaded: 1 << 20, deduplicated: 5 },
      base: { snapshotID: 'cd'.repeat(32) },
      changes: { mechanism: 'zfs-send-increment', because: 'of it' },
      transferred: { status: 'True', reason: 'Complete' },
      message: 'shop/db is backed up as abababab: 4.0 MiB, 2.0 MiB read, 1.0 MiB uploaded',
    });
    expect(bytesOf(status)).toEqual({ read: 2 << 20, uploaded: 1 << 20, deduplicated: 5 });
  });

  test('of a restore', () => {
    const summary = {
      ...{
        snapshot_id: 'ab'.repeat(32),
        total_bytes: 4 << 20,
        bytes_written: 3 << 20,
        bytes_skipped_zero: 1 << 20,
      },
      verified: true,
    };
    expect(completedStatus('restore', 'shop/db', summary, now)).toMatchObject({
      ...{ phase: 'SnapshotRestoreDone', amounts: { written: 3 << 20, zeros: 1 << 20 } },
      verification: { state: 'Passed', completionTimestamp: '2026-11-27T03:04:05Z', bytesRead: 4 << 20 },
    });
    const received = completedStatus('restore', 'shop/db', { ...summary, verified: false }, now);
    expect(received).not.toHaveProperty('verification');
    expect(received.message).not.toContain('verified');
  });

  test('of a backup whose list of changes lied: the bytes are right, the verification says what was wrong', () => {
    const distrusted = { mechanism: 'rbd-object-map', base: 'cd'.repeat(32), differs_at: 4096 };
    const status = completedStatus('backup', 'shop/db', { snapshot_id: 'ab'.repeat(32), distrusted }, now);
    expect(status).toMatchObject({
      phase: 'SnapshotBackupDone',
      transferred: { status: 'True', reason: 'Complete' },
      verification: {
        state: 'Failed',
        completionTimestamp: '2026-11-27T03:04:05Z',
        message:
          'back up shop/db: what rbd-object-map says since backup cdcdcdcd is wrong: byte 4096 changed and was not named (all of the volume was read instead)',
      },
    });
  });

  test('a mechanism that this version does not know is left out, for the API would refuse all of it', () => {
    expect(completedStatus('backup', 'v', { changes: { mechanism: 'telepathy' } }, now)).not.toHaveProperty(
      'changes',
    );
  });

  test('progress is 100 at the end alone', () => {
    expect(progressStatus({ bytesDone: 100, totalBytes: 100, bytesPerSecond: 1 }).progress?.percent).toBe(99);
    expect(progressStatus({ bytesDone: 1023, bytesPerSecond: 1 })).toEqual({
      ...{ moved: '1023 B', progress: { bytesDone: 1023 } },
    });
  });

  test('K-22: a message is cut at 4096 characters', () => {
    expect(transferred('False', REASONS.error, 'x'.repeat(5000)).message).toHaveLength(4096);
  });
});
