import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { deterministicName, snapshotDeleteRequestName } from '../../api/derived-names.ts';
import { LABELS } from '../../api/names.ts';
import { parseSnapshotReference } from '../../api/snapshot-reference.ts';
import { DOUBLE_CRDS, DOUBLE_CRD_NAMES } from '../../datamover/controllers/testing/double-kinds.ts';
import { run } from '../../datamover/process/spawn.ts';
import { startCeph, type CephCluster } from '../servers/ceph.ts';
import { boundVolume, claim, readySnapshot } from '../servers/claims.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { startOwnMinio, type OwnMinio } from '../servers/minio.ts';
import { MOVER_PEERS, startMover, type Mover } from '../servers/mover.ts';
import { addRbdStorage, type RbdStorage } from '../servers/rbd-storage.ts';
import { makeBucket, s3Environment } from '../servers/s3-server.ts';
import {
  NODES,
  RBD_STORAGE_PEERS,
  startStorageCluster,
  type StorageCluster,
} from '../servers/storage-cluster.ts';
import { Transfers, VELERO } from './transfers.ts';

const COMMAND = new URL('../../datamover/cli/main.js', import.meta.url).pathname;
const PEERS = [...RBD_STORAGE_PEERS, ...MOVER_PEERS, 'minio'] as const;
const TARGET = { backupTarget: 'bucket' };
const MEBIBYTE = 2 ** 20;
/** How long MinIO is away. */
const OUTAGE_MS = 60_000;

describePeers(PEERS, 'a volume of Ceph RBD, there and back by controller and agent', () => {
  let ceph: CephCluster;
  let cluster: StorageCluster;
  let s3: OwnMinio;
  let bucket: string;
  let rbd: RbdStorage;
  let mover: Mover;
  let shop: string;
  let transfers: Transfers;
  let digest: string;

  beforeAll(async () => {
    [ceph, cluster, s3] = await Promise.all([startCeph(), startStorageCluster(), startOwnMinio()]);
    rbd = await addRbdStorage(cluster, ceph);
    await cluster.apply(...DOUBLE_CRDS);
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...DOUBLE_CRD_NAMES]);
    await cluster.kubectl(['create', 'namespace', VELERO]);
    shop = await cluster.makeNamespace();
    transfers = new Transfers(cluster, shop, rbd.snapshotClass);
    mover = await startMover({
      ...{ cluster, veleroNamespace: VELERO, cephCsiConfig: rbd.configMap },
      agents: [{ node: NODES[0], drivers: 'rbd' }],
      args: ['--mapping', 'mapping'],
    });
    bucket = `s3:${s3.endpoint}/${await makeBucket(s3)}`;
    const keys = { AWS_ACCESS_KEY_ID: s3.accessKey, AWS_SECRET_ACCESS_KEY: s3.secretKey };
    const repository = { RESTIC_REPOSITORY: `${bucket}/volumes`, RESTIC_PASSWORD: mover.password };
    await makeSecret('default-volsync-restic', { ...repository, ...keys });
    await makeSecret('keys', keys);
    await makeSecret('password', { RESTIC_PASSWORD: mover.password });
    await setTarget();
  }, 300_000);
  afterAll(async () => {
    await mover.stop();
    await rbd.stop();
    await cluster.stop();
    await ceph.stop();
    await s3.stop();
  }, 120_000);

  const makeSecret = (name: string, stringData: object): Promise<void> =>
    cluster.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { namespace: VELERO, name }, stringData });

  /** The BackupTarget, with limits or without. */
  const setTarget = (limits?: object): Promise<void> =>
    cluster.apply({
      ...{ apiVersion: 'datamover.io/v1alpha1', kind: 'BackupTarget' },
      metadata: { namespace: VELERO, name: TARGET.backupTarget },
      spec: {
        ...{ location: `${bucket}/target`, region: s3.region, scope: 'Volume' },
        ...{ credentialsSecretRef: { name: 'keys' }, passwordSecretRef: { name: 'password' } },
        ...(limits === undefined ? {} : { limits }),
      },
    });

  const make = (name: string, storageClass: string, size = '16Mi', namespace = shop): Promise<void> =>
    cluster.apply(claim({ namespace, name, storageClass, size }));

  test('a snapshot becomes a backup in the repository of a BackupTarget', async () => {
    await make('db', rbd.storageClass);
    await rbd.write(shop, 'db', 4096, randomBytes(5_000_000));
    digest = await rbd.digest(shop, 'db');
    const status = await transfers.backUp('first', 'db', TARGET);
    expect(status).toMatchObject({ phase: 'Completed', resticrepository: `${bucket}/target/${shop}/db` });
    expect(status.snapshotID).toMatch(/^[0-9a-f]{64}$/);
  }, 400_000);

  /** A claim of a snapshot that a restore left, and its digest. */
  const digestOfHandle = async (snapshotHandle: string | undefined, namespace: string): Promise<string> => {
    const [api, name] = [{ apiVersion: 'snapshot.storage.k8s.io/v1' }, 'restored'];
    const volumeSnapshotClassName = rbd.snapshotClass;
    await cluster.apply(
      {
        ...{ ...api, kind: 'VolumeSnapshotContent', metadata: { name } },
        spec: {
          ...{ driver: rbd.driver, deletionPolicy: 'Delete', volumeSnapshotClassName },
          ...{ source: { snapshotHandle }, volumeSnapshotRef: { namespace, name } },
        },
      },
      {
        ...{ ...api, kind: 'VolumeSnapshot', metadata: { name, namespace } },
        spec: { source: { volumeSnapshotContentName: name }, volumeSnapshotClassName },
      },
    );
    await readySnapshot(cluster, namespace, name);
    const storageClass = rbd.storageClass;
    await cluster.apply(claim({ namespace, name: 'third', storageClass, size: '16Mi', snapshot: name }));
    await boundVolume(cluster, namespace, 'third');
    return rbd.digest(namespace, 'third');
  };

  test("OADP's way, by a mapping into another class and namespace: a snapshot of the restored volume, from which a claim is made", async () => {
    const reference = await transfers.reference('first');
    // As if it came from a cluster whose class is called otherwise.
    const sourcePVCData = { name: 'db', size: '16Mi', storageClassName: 'theirs' };
    const namespace = await cluster.makeNamespace();
    const elsewhere = { opened: TARGET, namespace };
    const strange = { ...reference, sourcePVCData };
    expect(await transfers.restore('unmapped', strange, {}, elsewhere)).toMatchObject({
      ...{ phase: 'Failed', message: expect.stringContaining('there is no storage class theirs') },
    });
    await cluster.apply({
      ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: mover.namespace, name: 'mapping' } },
      data: { 'storageclass.theirs': rbd.waitingStorageClass },
    });
    const status = await transfers.restore('mapped', strange, {}, elsewhere);
    expect(status).toMatchObject({ phase: 'Completed' });
    expect(status.snapshotHandle).toMatch(/^0001-0009-rook-ceph-/);
    const left = ['get', 'pvc,volumesnapshots', '--namespace', namespace, '--output=name'];
    expect(await cluster.kubectl(left)).toBe('');
    expect(await digestOfHandle(status.snapshotHandle, namespace)).toBe(digest);
  }, 400_000);

  test('TargetTooSmall: a claim that cannot hold the backup is refused, and nothing is made', async () => {
    await make('small', rbd.waitingStorageClass, '8Mi');
    const target = { target: { claimName: 'small' } };
    const reference = await transfers.reference('first');
    expect(await transfers.restore('small', reference, target, { opened: TARGET })).toMatchObject({
      ...{ phase: 'Failed', message: expect.stringContaining('8Mi is too small for a backup of 16Mi') },
    });
  }, 400_000);

  test('MinIO is killed and away for a minute while a backup and a restore run: their children wait, and go on', async () => {
    await make('busy', rbd.storageClass);
    await rbd.write(shop, 'busy', 0, randomBytes(5 * MEBIBYTE));
    const busy = await rbd.digest(shop, 'busy');
    const reference = await transfers.reference('first');
    await make('back', rbd.waitingStorageClass);
    // Either takes more than half a minute at these rates, so neither is at its end when MinIO goes.
    await setTarget({ uploadBytesPerSecond: MEBIBYTE / 8, downloadBytesPerSecond: MEBIBYTE / 8 });
    await Promise.all([
      transfers.beginBackup('held', 'busy', TARGET),
      transfers.beginRestore('back', reference, { target: { claimName: 'back' } }, { opened: TARGET }),
    ]);
    // Both have reached the store: the restore has read all about the backup, and asks for its bytes.
    const begun = await Promise.all([
      transfers.seen('vsb', 'held', ({ progress }) => (progress?.bytesDone ?? 0) > 0),
      transfers.seen('vsr', 'back', ({ progress }) => (progress?.totalBytes ?? 0) > 0),
    ]);
    await s3.kill();
    for (const [kind, name] of [
      ['vsb', 'held'],
      ['vsr', 'back'],
    ] as const)
      expect((await transfers.get(kind, name)).status).toMatchObject({ phase: 'InProgress' });
    await delay(OUTAGE_MS);
    await s3.start();
    const ended = await Promise.all([transfers.ended('vsb', 'held'), transfers.ended('vsr', 'back')]);
    for (const status of ended) expect(status).toMatchObject({ phase: 'Completed', attempts: 1 });
    // It was the child that waited: the agent has not begun another one.
    const children = (await mover.log()).split('\n').filter((line) => line.includes('child started'));
    for (const { transferID = 'no ID' } of begun)
      expect(children.filter((line) => line.includes(transferID))).toHaveLength(1);
    expect(await rbd.digest(shop, 'back')).toBe(digest);
    await setTarget();
    await make('held', rbd.waitingStorageClass);
    const held = await transfers.reference('held');
    await transfers.restore('held', held, { target: { claimName: 'held' } }, { opened: TARGET });
    expect(await rbd.digest(shop, 'held')).toBe(busy);
  }, 600_000);

  const snapshotsIn = async (repository: string): Promise<readonly string[]> => {
    const env = {
      ...s3Environment(s3),
      ...{ RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: mover.password },
    };
    const { stdout } = await run({ file: process.execPath, args: [COMMAND, 'snapshots', '--json'], env });
    return (JSON.parse(stdout) as { id: string }[]).map(({ id }) => id);
  };

  test('K-34: a claim that a restore has filled is bound to its volume, and not filled again', async () => {
    const volume = await boundVolume(cluster, shop, 'back');
    expect((await transfers.get('vsr', 'back')).status?.volumeName).toBe(volume.metadata.name);
    const [reference, target] = [await transfers.reference('first'), { target: { claimName: 'back' } }];
    expect(await transfers.restore('twice', reference, target, { opened: TARGET })).toMatchObject({
      ...{ phase: 'Failed', message: expect.stringContaining('another restore has filled the claim') },
    });
    expect(await names('pvc')).toEqual(
      ['back', 'busy', 'db', 'held', 'small'].map((name) => `persistentvolumeclaim/${name}`),
    );
    const path = '--output=jsonpath={.spec.persistentVolumeReclaimPolicy}';
    expect(await cluster.kubectl(['get', 'pv', volume.metadata.name, path])).toBe('Delete');
  }, 400_000);

  test("K-36: Velero's DataUpload, DataDownload, and the deletion of what was moved", async () => {
    await transfers.shoot('moved', 'db');
    const { storageClass, snapshotClass } = rbd;
    const csiSnapshot = { volumeSnapshot: 'moved', storageClass, snapshotClass };
    const upload = { snapshotType: 'CSI', csiSnapshot, sourcePVC: 'db' };
    await transfers.makeMove('DataUpload', 'up', upload);
    await transfers.makeMove('DataUpload', 'theirs', { ...upload, datamover: 'velero' });
    const status = await transfers.ended('dataupload', 'up', VELERO);
    expect(status).toMatchObject({
      phase: 'Completed',
      progress: { totalBytes: 2 ** 24, bytesDone: 2 ** 24 },
      nodeOS: 'linux',
    });
    const reference = parseSnapshotReference(status.snapshotID ?? '');
    expect(reference).toMatchObject({
      ...{
        repository: `${bucket}/volumes/${shop}`,
        protectedNamespace: VELERO,
        sourceNamespace: shop,
        claim: 'db',
      },
      ...{ openedBy: { secret: 'default-volsync-restic' }, driver: 'rbd', format: 'image', bytes: 2 ** 24 },
    });
    // With the transfer the upload is settled: the snapshot was the mover's, and stays as the base of the next backup (K-37).
    const uid = await field(VELERO, 'dataupload/up', 'uid');
    await cluster.kubectl([
      ...['wait', '--for=delete', `vsb/${deterministicName('vsb', uid, 'db')}`],
      ...['--namespace', shop, '--timeout=120s'],
    ]);
    const claimUid = await field(shop, 'pvc/db', 'uid');
    const labels = JSON.parse(await field(shop, 'volumesnapshot/moved', 'labels')) as unknown;
    expect(labels).toMatchObject({ [LABELS.baseOf]: claimUid, 'velero.io/exclude-from-backup': 'true' });
    const owners = JSON.parse(await field(shop, 'volumesnapshot/moved', 'ownerReferences')) as unknown;
    expect(owners).toMatchObject([{ kind: 'PersistentVolumeClaim', name: 'db', uid: claimUid }]);
    // Nobody touched another mover's object.
    expect(await names('vsb')).toEqual(
      ['first', 'held'].map((name) => `volumesnapshotbackup.datamover.oadp.openshift.io/${name}`),
    );
    expect((await transfers.get('dataupload', 'theirs', VELERO)).status).toBeUndefined();

    const matchLabels = { 'velero.io/dynamic-pv-restore': 'shop.down.abcde' };
    const wish = { namespace: shop, name: 'down', storageClass, size: '16Mi' };
    const waiting = claim(wish) as { spec: object };
    await cluster.apply({ ...waiting, spec: { ...waiting.spec, selector: { matchLabels } } });
    const targetVolume = { pvc: 'down', pv: '', namespace: shop };
    await transfers.makeMove('DataDownload', 'down', { targetVolume, snapshotID: status.snapshotID });
    await transfers.makeMove('DataDownload', 'empty', { targetVolume, snapshotID: '' });
    expect(await transfers.ended('datadownload', 'empty', VELERO)).toMatchObject({
      ...{
        phase: 'Failed',
        message: `restore ${shop}/down: read snapshotID: it is empty: the backup had failed`,
      },
    });
    expect(await transfers.ended('datadownload', 'down', VELERO)).toMatchObject({ phase: 'Completed' });
    const { metadata } = await boundVolume(cluster, shop, 'down');
    expect(await rbd.digest(shop, 'down')).toBe(digest);
    const label = await cluster.kubectl(['get', 'pv', metadata.name, '--output=jsonpath={.metadata.labels}']);
    expect(JSON.parse(label)).toEqual(matchLabels);

    const { repository, snapshotID } = reference;
    expect(await snapshotsIn(repository)).toContain(snapshotID);
    const freed = { resticrepository: repository, sourceNamespace: shop, claim: 'db', snapshotID };
    const name = snapshotDeleteRequestName(freed);
    await cluster.apply({
      ...{
        apiVersion: 'datamover.io/v1alpha1',
        kind: 'SnapshotDeleteRequest',
        metadata: { name, namespace: VELERO },
      },
      spec: { resticSecretRef: { name: 'default-volsync-restic' }, ...freed },
    });
    await cluster.kubectl([
      'wait',
      '--for=jsonpath={.status.phase}=Completed',
      `dmd/${name}`,
      '--namespace',
      VELERO,
      '--timeout=120s',
    ]);
    const left = await snapshotsIn(repository);
    expect(left).not.toContain(snapshotID);
    expect(left).toEqual([]);
  }, 500_000);

  const field = (namespace: string, object: string, name: string): Promise<string> =>
    cluster.kubectl(['get', object, '--namespace', namespace, `--output=jsonpath={.metadata.${name}}`]);

  async function names(kind: string): Promise<string[]> {
    const text = await cluster.kubectl(['get', kind, '--namespace', shop, '--output=name']);
    return text.trim().split('\n').sort();
  }
});
