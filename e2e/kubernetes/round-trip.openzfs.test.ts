import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { DOUBLE_CRDS, DOUBLE_CRD_NAMES } from '../../datamover/controllers/testing/double-kinds.ts';
import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { boundVolume, claim } from '../servers/claims.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { startMinio } from '../servers/minio.ts';
import { MOVER_PEERS, startMover, type Mover } from '../servers/mover.ts';
import { startOpenZfs, type OpenZfs } from '../servers/openzfs.ts';
import { makeBucket, type S3Server } from '../servers/s3-server.ts';
import {
  nodeObjects,
  startStorageCluster,
  ZFS_STORAGE_PEERS,
  type StorageCluster,
} from '../servers/storage-cluster.ts';
import { addZfsStorage, type ZfsStorage } from '../servers/zfs-storage.ts';
import { Transfers, VELERO, type TransferStatus } from './transfers.ts';

const MEBIBYTE = 2 ** 20;
/** ZFS is in an emulated machine. */
const PATIENCE = 900_000;

describePeers(
  [...ZFS_STORAGE_PEERS, ...MOVER_PEERS, 'minio'],
  'volumes of OpenEBS ZFS, there and back by controller and agent',
  () => {
    let machine: OpenZfs;
    let cluster: StorageCluster;
    let s3: S3Server;
    let zfs: ZfsStorage;
    let mover: Mover;
    let shop: string;
    let transfers: Transfers;

    beforeAll(async () => {
      [machine, cluster, s3] = await Promise.all([
        startOpenZfs(),
        startStorageCluster({ zfsNodes: ['node-b'] }),
        startMinio(),
      ]);
      await cluster.apply(...DOUBLE_CRDS);
      await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...DOUBLE_CRD_NAMES]);
      zfs = await addZfsStorage(cluster, machine);
      await cluster.kubectl(['create', 'namespace', VELERO]);
      shop = await cluster.makeNamespace();
      transfers = new Transfers(cluster, shop, zfs.snapshotClass);
      mover = await startMover({
        ...{ cluster, veleroNamespace: VELERO, zfsNamespace: zfs.namespace },
        agents: [{ node: 'node-b', drivers: 'zfs', machine }],
        args: ['--mapping', 'mapping'],
      });
      const repository = `s3:${s3.endpoint}/${await makeBucket(s3)}/volumes`;
      for (const name of ['restic', 'default-volsync-restic']) {
        await cluster.apply({
          ...{ apiVersion: 'v1', kind: 'Secret', metadata: { namespace: VELERO, name } },
          stringData: {
            ...{ RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: mover.password },
            ...{ AWS_ACCESS_KEY_ID: s3.accessKey, AWS_SECRET_ACCESS_KEY: s3.secretKey },
          },
        });
      }
    }, PATIENCE);
    afterAll(async () => {
      await mover.stop();
      await zfs.stop();
      await cluster.stop();
      await machine.stop();
      await s3.stop();
    }, PATIENCE);

    const make = (name: string, storageClass: string, mode: 'Block' | 'Filesystem' = 'Filesystem') =>
      cluster.apply(claim({ namespace: shop, name, storageClass, size: '16Mi', mode }));
    /** A snapshot of this name becomes a backup of this name; what the object says of it. */
    async function backUp(name: string, of: string): Promise<TransferStatus> {
      const status = await transfers.backUp(name, of);
      expect(status).toMatchObject({ phase: 'Completed', node: 'node-b' });
      return status;
    }

    const restore = async (name: string, target: object): Promise<TransferStatus> =>
      transfers.restore(name, await transfers.reference(name), target);

    /** Runs a script in a dataset, mounted as a pod's kubelet would. */
    async function inDataset(name: string, script: string): Promise<string> {
      const dataset = await zfs.datasetOf(shop, name);
      const mounted = `d=$(mktemp -d) && mount -t zfs ${dataset} $d && cd $d && { ${script}; }`;
      return (await machine.run('sh', '-ec', `${mounted}; cd /; umount $d`)).stdout;
    }

    test(
      'a zvol: a backup, an increment, and back into a claim that waits for its first consumer',
      async () => {
        await make('db', zfs.storageClass);
        await zfs.write(shop, 'db', 1, randomBytes(5 * MEBIBYTE));
        const first = await backUp('first', 'db');
        expect(first).toMatchObject({ format: 'image', changes: { mechanism: 'allocated-extents' } });
        await zfs.write(shop, 'db', 9, randomBytes(MEBIBYTE));
        const second = await backUp('second', 'db');
        expect(second).toMatchObject({ changes: { mechanism: 'zfs-send-increment' } });
        expect(second.amounts?.read).toBeLessThan(2 * MEBIBYTE);
        const digest = await zfs.digest(shop, 'db');

        await make('again', zfs.waitingStorageClass);
        const restored = await restore('second', { target: { claimName: 'again' } });
        expect(restored).toMatchObject({ phase: 'Completed' });
        const volume = await boundVolume(cluster, shop, 'again');
        expect(restored.volumeName).toBe(volume.metadata.name);
        expect(JSON.stringify(volume.spec.nodeAffinity)).toContain('node-b');
        expect(await zfs.digest(shop, 'again')).toBe(digest);
      },
      PATIENCE,
    );

    test(
      'a dataset: streams, an increment, and back with all of its files and the room that it had',
      async () => {
        const listing = 'find . -type f -exec sha256sum {} + | sort';
        await make('files', zfs.datasetStorageClass);
        await inDataset('files', 'mkdir a; for i in 1 2 3; do head -c 900000 /dev/urandom > a/f$i; done');
        expect(await backUp('files-1', 'files')).toMatchObject({ format: 'stream' });
        await inDataset('files', 'rm a/f1; head -c 50000 /dev/urandom > new');
        const second = await backUp('files-2', 'files');
        expect(second).toMatchObject({ changes: { mechanism: 'zfs-send-increment' } });
        expect(second.amounts?.read).toBeLessThan(MEBIBYTE);
        const files = await inDataset('files', listing);

        await make('files-again', zfs.waitingDatasetStorageClass);
        expect(await restore('files-2', { target: { claimName: 'files-again' } })).toMatchObject({
          phase: 'Completed',
        });
        expect(await inDataset('files-again', listing)).toBe(files);
        const dataset = await zfs.datasetOf(shop, 'files-again');
        const properties = await machine.zfs('get', '-Hpo', 'value', 'quota,mountpoint', dataset);
        expect(properties.trim().split('\n')).toEqual([String(16 * MEBIBYTE), 'legacy']);
      },
      PATIENCE,
    );

    test(
      'without a claim a restore is refused with the way out',
      async () => {
        const { phase, message } = await restore('first', {});
        expect(phase).toBe('Failed');
        expect(message).toContain('a snapshot of a ZFS volume cannot outlive the volume');
        expect(message).toContain('target.claimName');
      },
      PATIENCE,
    );

    test(
      "Velero's DataUpload and DataDownload of a claim with volumeMode Block",
      async () => {
        await make('raw', zfs.storageClass, 'Block');
        await zfs.write(shop, 'raw', 2, randomBytes(3 * MEBIBYTE));
        const digest = await zfs.digest(shop, 'raw');
        await transfers.shoot('moved', 'raw');
        const csiSnapshot = {
          ...{ volumeSnapshot: 'moved', storageClass: zfs.storageClass, snapshotClass: zfs.snapshotClass },
        };
        await transfers.makeMove('DataUpload', 'move', {
          snapshotType: 'CSI',
          csiSnapshot,
          sourcePVC: 'raw',
        });
        const up = await transfers.ended('dataupload', 'move', VELERO);
        expect(up).toMatchObject({ phase: 'Completed' });

        const matchLabels = { 'velero.io/dynamic-pv-restore': 'shop.raw-again.abcde' };
        const wish = { namespace: shop, name: 'raw-again', storageClass: zfs.storageClass, size: '16Mi' };
        const waiting = claim({ ...wish, mode: 'Block' }) as { spec: object };
        await cluster.apply({ ...waiting, spec: { ...waiting.spec, selector: { matchLabels } } });
        const targetVolume = { pvc: 'raw-again', pv: '', namespace: shop };
        await transfers.makeMove('DataDownload', 'move', { targetVolume, snapshotID: up.snapshotID });
        expect(await transfers.ended('datadownload', 'move', VELERO)).toMatchObject({ phase: 'Completed' });
        expect(await zfs.digest(shop, 'raw-again')).toBe(digest);
      },
      PATIENCE,
    );

    test(
      'by a mapping to another node, with a class of another pool',
      async () => {
        const pool = `${zfs.poolName}/other`;
        await machine.zfs('create', '-o', 'mountpoint=none', pool);
        await cluster.apply(...nodeObjects('node-a', true), {
          ...{ apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name: 'zfs-other' } },
          ...{ provisioner: zfs.driver, volumeBindingMode: 'WaitForFirstConsumer' },
          parameters: { poolname: pool, fstype: 'ext4', thinprovision: 'yes' },
        });
        await mover.addAgent({ node: 'node-a', drivers: 'zfs', machine });
        await cluster.apply({
          ...{
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: { namespace: mover.namespace, name: 'mapping' },
          },
          data: { 'node.node-b': 'node-a' },
        });
        await make('elsewhere', 'zfs-other');
        const target = { claimName: 'elsewhere', node: 'node-b' };
        const restored = await transfers.restore('elsewhere', await transfers.reference('second'), {
          target,
        });
        expect(restored).toMatchObject({ phase: 'Completed', node: 'node-a' });
        const { spec } = await boundVolume(cluster, shop, 'elsewhere');
        expect(JSON.stringify(spec.nodeAffinity)).toContain('node-a');
        const device = await machine.device(`${pool}/${spec.csi.volumeHandle}`);
        const { stdout } = await machine.run('sha256sum', device);
        expect(stdout.split(' ')[0]).toBe(await zfs.digest(shop, 'again'));
        await cluster.kubectl(['delete', 'pvc', 'elsewhere', '--namespace', shop, '--timeout=180s']);
        await until(
          async () => !(await machine.zfs('list', '-Hro', 'name', pool)).includes(`${pool}/`),
          () => `a volume is left over: ${zfs.node.failures.join('; ')}`,
          PATIENCE,
        );
        await machine.zfs('destroy', pool);
      },
      PATIENCE,
    );

    test(
      'nothing of all that is left on the pool but the volumes, and they go with their claims',
      async () => {
        const claims = ['again', 'db', 'files', 'files-again', 'raw', 'raw-again'];
        const volumes = await Promise.all(claims.map((name) => zfs.datasetOf(shop, name)));
        const list = async (type: string, columns: string): Promise<string[]> =>
          (await machine.zfs('list', '-Hrt', type, '-o', columns, zfs.poolName)).trim().split('\n').sort();
        expect(await list('filesystem,volume', 'name')).toEqual([zfs.poolName, ...volumes].sort());
        const snapshots = await list('snapshot', 'name,userrefs');
        // Of each VolumeSnapshot that is still there, held by nobody; the moved one was Velero's and is gone.
        expect(snapshots).toHaveLength(4);
        for (const line of snapshots) expect(line).toMatch(/\t0$/);
        expect(
          await cluster.kubectl(['get', 'secrets,leases', '--namespace', mover.namespace]),
        ).not.toContain('datamover-transfer-');
        await cluster.kubectl(['delete', 'volumesnapshot', '--all', '--namespace', shop, '--timeout=180s']);
        await cluster.kubectl(['delete', 'pvc', '--all', '--namespace', shop, '--timeout=180s']);
        await until(
          async () => (await list('filesystem,volume', 'name')).length === 1,
          () => `volumes are left over: ${zfs.node.failures.join('; ')}`,
          PATIENCE,
        );
      },
      PATIENCE,
    );
  },
);
