import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { crdFiles } from '../../api/crd-files.ts';
import { snapshotDeleteRequestName } from '../../api/derived-names.ts';
import { parseSnapshotReference } from '../../api/snapshot-reference.ts';
import { DOUBLE_CRDS, DOUBLE_CRD_NAMES } from '../../datamover/controllers/testing/double-kinds.ts';
import { run } from '../../datamover/process/spawn.ts';
import { KINDS } from '../../api/kinds.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { startCeph, type CephCluster } from '../servers/ceph.ts';
import { boundVolume, claim, readySnapshot, snapshotOf } from '../servers/claims.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { makeAccounts, MOVER_PEERS, type Accounts } from '../servers/mover.ts';
import { freePorts } from '../servers/ports.ts';
import { addRbdStorage, type RbdStorage } from '../servers/rbd-storage.ts';
import { startRestartable, type Restartable } from '../servers/restartable.ts';
import { scratchDirectory } from '../servers/scratch.ts';
import {
  NODES,
  RBD_STORAGE_PEERS,
  startStorageCluster,
  type StorageCluster,
} from '../servers/storage-cluster.ts';

const MOVER = 'datamover-system';
const VELERO = 'velero';
const PASSWORD = 'a password';
const PEERS = [...RBD_STORAGE_PEERS, ...MOVER_PEERS];
const COMMAND = new URL('../../datamover/cli/main.js', import.meta.url).pathname;

interface Ended {
  readonly metadata: { readonly finalizers?: readonly string[] };
  readonly status?: {
    readonly phase?: string;
    readonly message?: string;
    readonly snapshotID?: string;
    readonly resticrepository?: string;
    readonly snapshotHandle?: string;
    readonly volumeSnapshotContentName?: string;
    readonly volumeName?: string;
    readonly sourcePVCData?: { readonly name: string; readonly size: string };
  };
}

describePeers(PEERS, 'a volume of Ceph RBD, there and back by controller and agent', () => {
  let ceph: CephCluster;
  let cluster: StorageCluster;
  let rbd: RbdStorage;
  let home: string;
  let shop: string;
  let digest: string;
  let accounts: Accounts;
  const parts: Restartable[] = [];

  beforeAll(async () => {
    [ceph, cluster, home] = await Promise.all([
      startCeph(),
      startStorageCluster(),
      scratchDirectory('round-trip'),
    ]);
    rbd = await addRbdStorage(cluster, ceph);
    await cluster.apply(...crdFiles().values(), ...DOUBLE_CRDS);
    const crds = KINDS.map(({ plural, group }) => `crd/${plural}.${group}`);
    await cluster.kubectl([
      'wait',
      '--for=condition=Established',
      '--timeout=60s',
      ...crds,
      ...DOUBLE_CRD_NAMES,
    ]);
    for (const name of [MOVER, VELERO]) await cluster.kubectl(['create', 'namespace', name]);
    shop = await cluster.makeNamespace();
    for (const name of ['restic', 'default-volsync-restic']) {
      await cluster.apply({
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { namespace: VELERO, name } },
        stringData: { RESTIC_REPOSITORY: join(home, 'repository'), RESTIC_PASSWORD: PASSWORD },
      });
    }
    accounts = await makeAccounts(MOVER, { cluster, veleroNamespace: VELERO, cephCsiConfig: rbd.configMap });
    await begin(
      'controller',
      '--protected-namespaces',
      VELERO,
      '--velero-namespace',
      VELERO,
      '--ceph-csi-config',
      rbd.configMap,
    );
    await begin(
      'agent',
      '--node',
      NODES[0],
      '--pod',
      'agent-a',
      '--drivers',
      'rbd',
      '--scratch',
      join(home, 'agent'),
    );
  }, 300_000);
  afterAll(async () => {
    for (const part of parts) await part.kill();
    await rbd.stop();
    await cluster.stop();
    await ceph.stop();
    await rm(home, { recursive: true, force: true });
  }, 120_000);

  async function begin(verb: 'controller' | 'agent', ...more: string[]): Promise<void> {
    const port = await freePorts(1);
    const args = [
      '--namespace',
      MOVER,
      '--kubeconfig',
      accounts[verb],
      '--http-address',
      `127.0.0.1:${port}`,
    ];
    const ready = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
    parts.push(
      await startRestartable({ file: process.execPath, args: [COMMAND, verb, ...args, ...more], ready }),
    );
  }

  async function ended(kind: 'vsb' | 'vsr', name: string): Promise<Ended> {
    let object: Ended = { metadata: {} };
    await until(
      async () => {
        const text = await cluster.kubectl(['get', kind, name, '--namespace', shop, '--output=json']);
        object = JSON.parse(text) as Ended;
        const final = ['Completed', 'Failed', 'Canceled'].includes(object.status?.phase ?? '');
        return final && object.metadata.finalizers === undefined;
      },
      () => JSON.stringify(object.status),
      300_000,
    );
    return object;
  }

  const transfer = (kind: string, name: string, spec: object): object => ({
    apiVersion: 'datamover.oadp.openshift.io/v1alpha1',
    ...{ kind, metadata: { name, namespace: shop } },
    spec: { protectedNamespace: VELERO, resticSecretRef: { name: 'restic' }, ...spec },
  });

  const backup = async (): Promise<object> => {
    const { status } = await ended('vsb', 'first');
    const { name, size } = status?.sourcePVCData ?? {};
    const { snapshotID, resticrepository } = status ?? {};
    const sourcePVCData = { name, size, storageClassName: rbd.storageClass };
    return { snapshotID, resticrepository, sourcePVCData, volumeSnapshotClassName: rbd.snapshotClass };
  };

  test('a snapshot becomes a backup', async () => {
    await cluster.apply(claim({ namespace: shop, name: 'db', storageClass: rbd.storageClass, size: '16Mi' }));
    await rbd.write(shop, 'db', 4096, randomBytes(5_000_000));
    digest = await rbd.digest(shop, 'db');
    await cluster.apply(
      snapshotOf({ namespace: shop, name: 'first', claim: 'db', snapshotClass: rbd.snapshotClass }),
    );
    await readySnapshot(cluster, shop, 'first');
    const content = await cluster.kubectl([
      ...['get', 'volumesnapshot', 'first', '--namespace', shop],
      '--output=jsonpath={.status.boundVolumeSnapshotContentName}',
    ]);
    await cluster.apply(
      transfer('VolumeSnapshotBackup', 'first', { volumeSnapshotContent: { name: content } }),
    );
    const { status } = await ended('vsb', 'first');
    expect(status).toMatchObject({ phase: 'Completed', resticrepository: join(home, 'repository', shop) });
    expect(status?.snapshotID).toMatch(/^[0-9a-f]{64}$/);
  }, 400_000);

  test('K-34: a claim that waits for its first consumer is filled and bound, once', async () => {
    const volumeSnapshotMoverBackupRef = await backup();
    await cluster.apply(
      claim({ namespace: shop, name: 'again', storageClass: rbd.waitingStorageClass, size: '16Mi' }),
    );
    const spec = { volumeSnapshotMoverBackupRef, target: { claimName: 'again' } };
    await cluster.apply(transfer('VolumeSnapshotRestore', 'one', spec));
    const { status } = await ended('vsr', 'one');
    expect(status).toMatchObject({ phase: 'Completed' });
    const volume = await boundVolume(cluster, shop, 'again');
    expect(status?.volumeName).toBe(volume.metadata.name);
    expect(await rbd.digest(shop, 'again')).toBe(digest);
    await cluster.apply(transfer('VolumeSnapshotRestore', 'two', spec));
    expect((await ended('vsr', 'two')).status).toMatchObject({
      ...{ phase: 'Failed', message: expect.stringContaining('another restore has filled the claim') },
    });
    expect(await names('pvc')).toEqual(['persistentvolumeclaim/again', 'persistentvolumeclaim/db']);
    const policy = await cluster.kubectl([
      'get',
      'pv',
      volume.metadata.name,
      '--output=jsonpath={.spec.persistentVolumeReclaimPolicy}',
    ]);
    expect(policy).toBe('Delete');
  }, 400_000);

  test("OADP's way: a snapshot of the restored volume, from which a claim is made", async () => {
    const volumeSnapshotMoverBackupRef = await backup();
    await cluster.apply(transfer('VolumeSnapshotRestore', 'three', { volumeSnapshotMoverBackupRef }));
    const { status } = await ended('vsr', 'three');
    expect(status).toMatchObject({ phase: 'Completed' });
    expect(status?.snapshotHandle).toMatch(/^0001-0009-rook-ceph-/);
    expect(await names('volumesnapshot')).toEqual(['volumesnapshot.snapshot.storage.k8s.io/first']);
    expect(await names('pvc')).not.toContain('restore');
    const kind = { apiVersion: 'snapshot.storage.k8s.io/v1' };
    await cluster.apply(
      {
        ...{ ...kind, kind: 'VolumeSnapshotContent', metadata: { name: 'restored' } },
        spec: {
          ...{ driver: rbd.driver, deletionPolicy: 'Delete', volumeSnapshotClassName: rbd.snapshotClass },
          ...{
            source: { snapshotHandle: status?.snapshotHandle },
            volumeSnapshotRef: { namespace: shop, name: 'restored' },
          },
        },
      },
      {
        ...{ ...kind, kind: 'VolumeSnapshot', metadata: { name: 'restored', namespace: shop } },
        spec: {
          source: { volumeSnapshotContentName: 'restored' },
          volumeSnapshotClassName: rbd.snapshotClass,
        },
      },
    );
    await readySnapshot(cluster, shop, 'restored');
    await cluster.apply(
      claim({
        namespace: shop,
        name: 'third',
        storageClass: rbd.storageClass,
        size: '16Mi',
        snapshot: 'restored',
      }),
    );
    await boundVolume(cluster, shop, 'third');
    expect(await rbd.digest(shop, 'third')).toBe(digest);
  }, 400_000);

  test('TargetTooSmall: a claim that cannot hold the backup is refused, and nothing is made', async () => {
    const volumeSnapshotMoverBackupRef = await backup();
    await cluster.apply(
      claim({ namespace: shop, name: 'small', storageClass: rbd.waitingStorageClass, size: '8Mi' }),
    );
    const spec = { volumeSnapshotMoverBackupRef, target: { claimName: 'small' } };
    await cluster.apply(transfer('VolumeSnapshotRestore', 'four', spec));
    expect((await ended('vsr', 'four')).status).toMatchObject({
      ...{ phase: 'Failed', message: expect.stringContaining('8Mi is too small for a backup of 16Mi') },
    });
  }, 400_000);

  interface Move {
    readonly metadata: { readonly finalizers?: readonly string[] };
    readonly status?: { readonly phase?: string; readonly message?: string; readonly snapshotID?: string };
  }

  const move = (kind: string, name: string, spec: object): object => ({
    ...{ apiVersion: 'velero.io/v2alpha1', kind, metadata: { name, namespace: VELERO } },
    spec: { datamover: 'datamover.io', backupStorageLocation: 'default', operationTimeout: '10m0s', ...spec },
  });

  async function moved(kind: string, name: string): Promise<Move> {
    let object: Move = { metadata: {} };
    await until(
      async () => {
        object = JSON.parse(
          await cluster.kubectl(['get', kind, name, '--namespace', VELERO, '--output=json']),
        ) as Move;
        return (
          ['Completed', 'Failed', 'Canceled'].includes(object.status?.phase ?? '') &&
          object.metadata.finalizers === undefined
        );
      },
      () => JSON.stringify(object.status),
      300_000,
    );
    return object;
  }

  const snapshotsIn = async (repository: string): Promise<readonly string[]> => {
    const env = { RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: PASSWORD };
    const { stdout } = await run({ file: process.execPath, args: [COMMAND, 'snapshots', '--json'], env });
    return (JSON.parse(stdout) as { id: string }[]).map(({ id }) => id);
  };

  test("K-36: Velero's DataUpload, DataDownload, and the deletion of what was moved", async () => {
    await cluster.apply(
      snapshotOf({ namespace: shop, name: 'moved', claim: 'db', snapshotClass: rbd.snapshotClass }),
    );
    await readySnapshot(cluster, shop, 'moved');
    const csiSnapshot = {
      volumeSnapshot: 'moved',
      storageClass: rbd.storageClass,
      snapshotClass: rbd.snapshotClass,
    };
    await cluster.apply(
      move('DataUpload', 'up', { snapshotType: 'CSI', csiSnapshot, sourcePVC: 'db', sourceNamespace: shop }),
      move('DataUpload', 'theirs', {
        snapshotType: 'CSI',
        csiSnapshot,
        sourcePVC: 'db',
        sourceNamespace: shop,
        datamover: 'velero',
      }),
    );
    const { status } = await moved('dataupload', 'up');
    expect(status).toMatchObject({
      phase: 'Completed',
      progress: { totalBytes: 2 ** 24, bytesDone: 2 ** 24 },
      nodeOS: 'linux',
    });
    const reference = parseSnapshotReference(status?.snapshotID ?? '');
    expect(reference).toMatchObject({
      ...{
        repository: join(home, 'repository', shop),
        protectedNamespace: VELERO,
        sourceNamespace: shop,
        claim: 'db',
      },
      ...{ openedBy: { secret: 'default-volsync-restic' }, driver: 'rbd', format: 'image', bytes: 2 ** 24 },
    });
    // The snapshot was the mover's to delete; and nobody touched another mover's object.
    await cluster.kubectl([
      ...['wait', '--for=delete', 'volumesnapshot/moved', '--namespace', shop, '--timeout=120s'],
    ]);
    expect(await names('vsb')).toEqual(['volumesnapshotbackup.datamover.oadp.openshift.io/first']);
    expect(
      await cluster.kubectl([
        'get',
        'dataupload',
        'theirs',
        '--namespace',
        VELERO,
        '--output=jsonpath={.status}',
      ]),
    ).toBe('');

    const matchLabels = { 'velero.io/dynamic-pv-restore': 'shop.back.abcde' };
    const waiting = claim({
      namespace: shop,
      name: 'back',
      storageClass: rbd.storageClass,
      size: '16Mi',
    }) as { spec: object };
    await cluster.apply({ ...waiting, spec: { ...waiting.spec, selector: { matchLabels } } });
    const targetVolume = { pvc: 'back', pv: '', namespace: shop };
    await cluster.apply(
      move('DataDownload', 'down', { targetVolume, snapshotID: status?.snapshotID, sourceNamespace: shop }),
      move('DataDownload', 'empty', { targetVolume, snapshotID: '', sourceNamespace: shop }),
    );
    expect((await moved('datadownload', 'empty')).status).toMatchObject({
      ...{
        phase: 'Failed',
        message: `restore ${shop}/back: read snapshotID: it is empty: the backup had failed`,
      },
    });
    expect((await moved('datadownload', 'down')).status).toMatchObject({ phase: 'Completed' });
    const { metadata } = await boundVolume(cluster, shop, 'back');
    expect(await rbd.digest(shop, 'back')).toBe(digest);
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
    expect(left).toHaveLength(1);
  }, 500_000);

  async function names(kind: string): Promise<string[]> {
    const text = await cluster.kubectl(['get', kind, '--namespace', shop, '--output=name']);
    return text.trim().split('\n').sort();
  }
});
