import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { describePeers } from '../e2e/servers/describe-peers.ts';
import { KUBERNETES_PEERS, startCluster, type Cluster } from '../e2e/servers/kubernetes.ts';
import { crdFiles } from './crd-files.ts';
import { FOUNDING_BACKUP, FOUNDING_RESTORE } from './testing/founding.ts';
import { KINDS } from './kinds.ts';

const OADP = 'datamover.oadp.openshift.io/v1alpha1';
const OURS = 'datamover.io/v1alpha1';

describePeers(KUBERNETES_PEERS, 'the kinds on a real API server', () => {
  let cluster: Cluster;
  let namespace: string;
  let made = 0;

  beforeAll(async () => {
    cluster = await startCluster();
    await cluster.apply(...crdFiles().values());
    const names = KINDS.map(({ plural, group }) => `crd/${plural}.${group}`);
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...names]);
    namespace = await cluster.makeNamespace();
  }, 120_000);

  afterAll(() => cluster.stop());

  /** Writes an object as a strict client does; gives its name. */
  async function create(kind: string, spec: object, apiVersion = OADP): Promise<string> {
    const name = `thing-${(made += 1)}`;
    const input = JSON.stringify({ apiVersion, kind, metadata: { name, namespace }, spec });
    await cluster.kubectl(['create', '--validate=strict', '-f', '-'], { input });
    return name;
  }

  const patch = async (what: string, name: string, change: object, subresource?: 'status'): Promise<string> =>
    cluster.kubectl([
      ...[
        'patch',
        what,
        name,
        `--namespace=${namespace}`,
        '--type=merge',
        `--patch=${JSON.stringify(change)}`,
      ],
      ...(subresource === undefined ? [] : [`--subresource=${subresource}`]),
    ]);

  const get = async (what: string, name: string): Promise<{ spec: object; status?: object }> =>
    JSON.parse(await cluster.kubectl(['get', what, name, `--namespace=${namespace}`, '--output=json'])) as {
      spec: object;
      status?: object;
    };

  test.each(KINDS.map((kind) => [kind.kind, kind] as const))(
    '%s is accepted as structural, and its short name works',
    async (_, { plural, group, shortNames }) => {
      const crd = JSON.parse(await cluster.kubectl(['get', `crd/${plural}.${group}`, '--output=json'])) as {
        status: { conditions: { type: string; status: string }[] };
      };
      const holding = crd.status.conditions.filter(({ status }) => status === 'True').map(({ type }) => type);
      expect(holding.sort()).toEqual(['Established', 'NamesAccepted']);
      for (const short of shortNames) {
        await cluster.kubectl(['get', short, `--namespace=${namespace}`]);
      }
    },
  );

  test('all of them are in the category datamover', async () => {
    const text = await cluster.kubectl([
      'api-resources',
      '--categories=datamover',
      '--output=name',
      '--no-headers',
    ]);
    expect(text.trim().split('\n').sort()).toEqual(
      KINDS.map(({ plural, group }) => `${plural}.${group}`).sort(),
    );
  });

  describe('the YAML of the OADP design', () => {
    test.each([
      ['VolumeSnapshotBackup', FOUNDING_BACKUP],
      ['VolumeSnapshotRestore', FOUNDING_RESTORE],
    ])('of %s applies as it is, its status too', async (kind, founding) => {
      const object = { ...founding, metadata: { ...founding.metadata, namespace } };
      const input = JSON.stringify(object);
      await cluster.kubectl(['apply', '--validate=strict', '-f', '-'], { input });
      await patch(kind, founding.metadata.name, { status: founding.status }, 'status');
      const read = await get(kind, founding.metadata.name);
      expect(read.spec).toEqual(founding.spec);
      expect(read.status).toEqual(founding.status);
    });
  });

  const backup = {
    protectedNamespace: 'velero',
    resticSecretRef: { name: 'default-volsync-restic' },
    volumeSnapshotContent: { name: 'snapcontent-1' },
  };
  const restore = {
    protectedNamespace: 'velero',
    backupTarget: 'minio',
    volumeSnapshotMoverBackupRef: { snapshotID: 'abcdef0123456789', sourcePVCData: { name: 'db' } },
  };
  const target = {
    location: 's3:https://minio.example:9000/backups/cluster-1',
    credentialsSecretRef: { name: 'minio' },
    passwordSecretRef: { name: 'restic' },
  };

  const removal = {
    resticSecretRef: { name: 'default-volsync-restic' },
    resticrepository: 's3:https://minio.example:9000/backups/cluster-1/shop',
    sourceNamespace: 'shop',
    snapshotID: '0123456789abcdef'.repeat(4),
  };

  describe('an object that makes no sense is refused with a sentence', () => {
    test.each([
      [
        'VolumeSnapshotBackup',
        OADP,
        { ...backup, backupTarget: 'minio' },
        'give either resticSecretRef or backupTarget',
      ],
      ['VolumeSnapshotBackup', OADP, { ...backup, base: 'yesterday' }, 'spec.base'],
      [
        'VolumeSnapshotBackup',
        OADP,
        { ...backup, volumeSnapshotContent: {} },
        'spec.volumeSnapshotContent.name: Required value',
      ],
      [
        'VolumeSnapshotBackup',
        OADP,
        { ...backup, volumeSnapshotContent: { name: '../x' } },
        'spec.volumeSnapshotContent.name',
      ],
      ['VolumeSnapshotBackup', OADP, { ...backup, protectedNamespace: '--all' }, 'spec.protectedNamespace'],
      ['VolumeSnapshotBackup', OADP, { ...backup, cancle: true }, 'unknown field "spec.cancle"'],
      [
        'VolumeSnapshotRestore',
        OADP,
        { ...restore, resticSecretRef: { name: 'x' } },
        'give either resticSecretRef or backupTarget',
      ],
      [
        'VolumeSnapshotRestore',
        OADP,
        { ...restore, volumeSnapshotMoverBackupRef: { snapshotID: 'ab'.repeat(32), sourcePVCData: {} } },
        'say which backup',
      ],
      [
        'BackupTarget',
        OURS,
        { ...target, location: 's3:https://key:secret@minio.example/backups/x' },
        'spec.location',
      ],
      ['BackupTarget', OURS, { ...target, scope: 'Everything' }, 'Unsupported value: "Everything"'],
      ['BackupSchedule', OURS, { schedule: 'now', backupTarget: 'minio' }, 'spec.schedule'],
      [
        'BackupSchedule',
        OURS,
        { schedule: '@daily', backupTarget: 'minio', retention: { daily: 0 } },
        'retention has to keep something',
      ],
      ['Backup', OURS, { backupVolume: 'db', snapshotID: 'latest' }, 'spec.snapshotID'],
      ['DataMoverClass', OURS, { mover: '' }, 'spec.mover'],
      ['SnapshotDeleteRequest', OURS, { ...removal, snapshotID: 'abcdef01' }, 'spec.snapshotID'],
      [
        'SnapshotDeleteRequest',
        OURS,
        { ...removal, backupTarget: 'minio' },
        'give either resticSecretRef or backupTarget',
      ],
    ])('%s (%s) %j: %s', async (kind, apiVersion, spec, sentence) => {
      await expect(create(kind, spec, apiVersion)).rejects.toThrow(sentence);
    });
  });

  describe('what was said when it was made stays', () => {
    test.each([
      [
        'VolumeSnapshotBackup',
        OADP,
        backup,
        { volumeSnapshotContent: { name: 'other' } },
        'volumeSnapshotContent',
      ],
      ['VolumeSnapshotBackup', OADP, backup, { protectedNamespace: 'other' }, 'protectedNamespace'],
      ['VolumeSnapshotBackup', OADP, backup, { resticSecretRef: { name: 'other' } }, 'resticSecretRef'],
      [
        'VolumeSnapshotBackup',
        OADP,
        backup,
        { resticSecretRef: null, backupTarget: 'other' },
        'backupTarget',
      ],
      ['VolumeSnapshotBackup', OADP, backup, { base: 'none' }, 'base'],
      ['VolumeSnapshotBackup', OADP, backup, { dataMoverClass: 'other' }, 'dataMoverClass'],
      ['VolumeSnapshotRestore', OADP, restore, { target: { claimName: 'victim' } }, 'target'],
      ['VolumeSnapshotRestore', OADP, restore, { verify: true }, 'verify'],
      [
        ...(['VolumeSnapshotRestore', OADP] as const),
        restore,
        { volumeSnapshotMoverBackupRef: { snapshotID: '0123456789abcdef' } },
        'volumeSnapshotMoverBackupRef',
      ],
      ['BackupTarget', OURS, target, { scope: 'Volume' }, 'scope'],
      [
        'Backup',
        OURS,
        { backupVolume: 'db', snapshotID: 'abcdef01' },
        { snapshotID: 'abcdef02' },
        'snapshotID',
      ],
      [
        'BackupVolume',
        OURS,
        { backupTarget: 'a', claimNamespace: 'b', claim: 'c' },
        { cluster: 'd' },
        'cluster',
      ],
      ['SnapshotDeleteRequest', OURS, removal, { snapshotID: 'f'.repeat(64) }, 'snapshotID'],
    ])('%s (%s) %j and then %j: %s', async (kind, apiVersion, spec, change, field) => {
      const name = await create(kind, spec, apiVersion);
      const sentence = `${field} cannot be changed: make a new object`;
      await expect(patch(`${kind}.${apiVersion.split('/')[0]}`, name, { spec: change })).rejects.toThrow(
        sentence,
      );
    });

    test('cancel can be set once and not taken back', async () => {
      const name = await create('VolumeSnapshotBackup', backup);
      await patch('vsb', name, { spec: { cancel: true } });
      const sentence = 'cancel cannot be taken back: make a new object';
      await expect(patch('vsb', name, { spec: { cancel: false } })).rejects.toThrow(sentence);
      await expect(patch('vsb', name, { spec: { cancel: null } })).rejects.toThrow(sentence);
    });
  });

  describe('a status that would mislead is refused', () => {
    const begun = { phase: 'InProgress', transferID: 'b0123456789abcdef' };
    test.each([
      ['vsb', backup, begun, { phase: 'Failed' }, 'a failure says why: message is missing'],
      [
        'vsb',
        backup,
        begun,
        { phase: 'Completed' },
        'a completed backup names its snapshot: snapshotID is missing',
      ],
      ['vsr', restore, begun, { phase: 'Completed' }, 'a completed restore names what it made'],
      [
        'vsb',
        backup,
        { phase: 'Canceled' },
        { phase: 'InProgress' },
        'a transfer that has ended stays in its phase',
      ],
      ['vsb', backup, { phase: 'Canceled' }, { phase: null }, 'a transfer that has ended stays in its phase'],
      ['vsb', backup, begun, { transferID: 'b0' }, 'transferID cannot be changed'],
      [
        'vsr',
        restore,
        { snapshotID: 'abcdef01' },
        { snapshotID: 'abcdef02' },
        'snapshotID cannot be changed',
      ],
      ['vsb', backup, begun, { phase: 'Prepared' }, 'Unsupported value: "Prepared"'],
      ['vsb', backup, begun, { progress: { percent: 101 } }, 'should be less than or equal to 100'],
    ])('%s %j %j and then %j: %s', async (what, spec, before, after, sentence) => {
      const kind = what === 'vsb' ? 'VolumeSnapshotBackup' : 'VolumeSnapshotRestore';
      const name = await create(kind, spec);
      await patch(what, name, { status: before }, 'status');
      await expect(patch(what, name, { status: after }, 'status')).rejects.toThrow(sentence);
    });

    test('and one that leads to an end is not', async () => {
      const name = await create('VolumeSnapshotBackup', backup);
      await patch('vsb', name, { status: begun }, 'status');
      await patch(
        'vsb',
        name,
        { status: { phase: 'SnapshotBackupDone', snapshotID: 'abcdef0123456789' } },
        'status',
      );
      await patch('vsb', name, { status: { phase: 'Completed' } }, 'status');
      await patch('vsb', name, { metadata: { finalizers: [] } });
      expect((await get('vsb', name)).status).toMatchObject({
        phase: 'Completed',
        transferID: begun.transferID,
      });
    });
  });

  test('defaults are filled in', async () => {
    const name = await create('BackupTarget', target, OURS);
    expect((await get('dmt', name)).spec).toEqual({
      ...target,
      ...{ scope: 'Namespace', accessMode: 'ReadWrite', syncInterval: '5m' },
    });
    const schedule = await create('BackupSchedule', { schedule: '@daily', backupTarget: name }, OURS);
    expect((await get('dms', schedule)).spec).toMatchObject({ timeZone: 'UTC', paused: false });
  });

  test('kubectl get tells the story of a backup', async () => {
    const name = await create('VolumeSnapshotBackup', backup);
    const status = {
      phase: 'InProgress',
      batchingStatus: 'Processing',
      sourcePVCData: { name: 'db', size: '20Gi' },
      storage: { driver: 'zfs', location: 'tank/pvc-1@snapshot-1' },
      progress: { totalBytes: 100, bytesDone: 42, percent: 42 },
      moved: '1.4 GiB',
      node: 'node-1',
      changes: { mechanism: 'zfs-send-increment' },
    };
    await patch('vsb', name, { status }, 'status');
    const rows = await cluster.kubectl(['get', 'vsb', name, `--namespace=${namespace}`]);
    const [head, row] = rows.split('\n').map((line) => line.split(/ {2,}/));
    expect(head).toEqual(
      'NAME,PVC NAME,VOLUMESNAPSHOTCONTENT,PHASE,BATCHINGSTATUS,DRIVER,%,MOVED,AGE'.split(','),
    );
    expect(row?.slice(0, 8)).toEqual([
      name,
      'db',
      'snapcontent-1',
      'InProgress',
      'Processing',
      'zfs',
      '42',
      '1.4 GiB',
    ]);
    const wide = await cluster.kubectl(['get', 'vsb', name, `--namespace=${namespace}`, '--output=wide']);
    expect(wide).toMatch(/zfs-send-increment +\S* +node-1/);
  });

  test('kubectl explain has a sentence for a field', async () => {
    const text = await cluster.kubectl(['explain', 'vsb.status.changes.because']);
    expect(text).toContain('Why nothing better.');
  });
});
