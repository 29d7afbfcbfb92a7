import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { OPENEBS_ZFS_DRIVER } from '../../api/neighbours/openebs.ts';
import { makeClient } from '../../datamover/kubernetes/client.ts';
import { loadConfiguration } from '../../datamover/kubernetes/configuration.ts';
import { run } from '../../datamover/process/spawn.ts';
import { boundVolume } from './claims.ts';
import { startSidecars, type Sidecars } from './csi/sidecars.ts';
import { ZfsDouble } from './csi/zfs-double.ts';
import { zfsCrds } from './csi/zfs-kinds.ts';
import { ZfsNodeDouble } from './csi/zfs-node-double.ts';
import type { Cluster } from './kubernetes.ts';
import type { OpenZfs } from './openzfs.ts';
import { scratchDirectory } from './scratch.ts';
import { NODES } from './storage-cluster.ts';

/** OpenEBS zfs-localpv in a cluster. Nodes that run it have the same pool, which in truth is one. */
export interface ZfsStorage {
  readonly driver: typeof OPENEBS_ZFS_DRIVER;
  /** StorageClasses of zvols: with immediate binding, and with WaitForFirstConsumer. */
  readonly storageClass: string;
  readonly waitingStorageClass: string;
  /** Of datasets (`fstype: zfs`). */
  readonly datasetStorageClass: string;
  readonly waitingDatasetStorageClass: string;
  readonly snapshotClass: string;
  /** `pool/child`, below which all volumes are. */
  readonly poolName: string;
  /** zfs-localpv's own, for `--zfs-namespace`. */
  readonly namespace: string;
  readonly sidecars: Sidecars;
  readonly node: ZfsNodeDouble;
  /** The dataset or zvol of a bound claim. */
  datasetOf(namespace: string, claim: string): Promise<string>;
  /** Writes into a bound claim's zvol, at a multiple of a mebibyte. */
  write(namespace: string, claim: string, mebibyte: number, bytes: Uint8Array): Promise<void>;
  /** SHA-256 of a bound claim's zvol. */
  digest(namespace: string, claim: string): Promise<string>;
  /** Ends the sidecars and destroys all volumes. */
  stop(): Promise<void>;
}

const NAMESPACE = 'openebs';

/** Adds zfs-localpv's kinds and classes, and its driver: real sidecars on our ZfsDouble and ZfsNodeDouble. */
export async function addZfsStorage(cluster: Cluster, machine: OpenZfs): Promise<ZfsStorage> {
  const home = await scratchDirectory('zfs-csi');
  const poolName = `${machine.pool}/csi-${randomBytes(4).toString('hex')}`;
  await machine.zfs('create', '-o', 'mountpoint=none', poolName);
  await cluster.apply(...objects(poolName));
  const crds = zfsCrds().map((crd) => `crd/${(crd as { metadata: { name: string } }).metadata.name}`);
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...crds]);
  const { kubeconfig } = cluster;
  const client = makeClient(loadConfiguration({ kubeconfig }), { fieldManager: 'zfs-driver' });
  const node = new ZfsNodeDouble({ client, namespace: NAMESPACE, machine, nodes: NODES });
  const sidecars = await startSidecars(new ZfsDouble({ client, namespace: NAMESPACE }), { kubeconfig, home });
  const datasetOf = async (namespace: string, claim: string): Promise<string> => {
    const { spec } = await boundVolume(cluster, namespace, claim);
    return `${poolName}/${spec.csi.volumeHandle}`;
  };
  return {
    ...{ driver: OPENEBS_ZFS_DRIVER, storageClass: 'zfs', waitingStorageClass: 'zfs-wait' },
    ...{ datasetStorageClass: 'zfs-dataset', waitingDatasetStorageClass: 'zfs-dataset-wait' },
    ...{ snapshotClass: 'zfs', poolName, namespace: NAMESPACE },
    ...{ sidecars, node, datasetOf },
    async write(namespace, claim, mebibyte, bytes) {
      const device = await machine.device(await datasetOf(namespace, claim));
      const place = [`of=${device}`, 'bs=1M', `seek=${mebibyte}`, 'conv=notrunc,fsync', 'iflag=fullblock'];
      const env = machine.environment;
      await run({ file: 'vm', args: ['dd', ...place], env, input: bytes, subject: 'dd' });
    },
    async digest(namespace, claim) {
      const device = await machine.device(await datasetOf(namespace, claim));
      return (await machine.run('sha256sum', device)).stdout.split(' ')[0] ?? '';
    },
    async stop() {
      await sidecars.stop();
      await node.stop();
      client.close();
      await machine.zfs('destroy', '-R', poolName);
      await rm(home, { recursive: true, force: true });
    },
  };
}

function objects(poolName: string): object[] {
  const storageClass = (name: string, fstype: string, volumeBindingMode: string) => ({
    ...{ apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name } },
    ...{ provisioner: OPENEBS_ZFS_DRIVER, reclaimPolicy: 'Delete', volumeBindingMode },
    parameters: { poolname: poolName, fstype, thinprovision: 'yes' },
  });
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    ...zfsCrds(),
    storageClass('zfs', 'ext4', 'Immediate'),
    storageClass('zfs-wait', 'ext4', 'WaitForFirstConsumer'),
    storageClass('zfs-dataset', 'zfs', 'Immediate'),
    storageClass('zfs-dataset-wait', 'zfs', 'WaitForFirstConsumer'),
    {
      ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotClass' },
      metadata: { name: 'zfs', labels: { 'velero.io/csi-volumesnapshot-class': 'true' } },
      ...{ driver: OPENEBS_ZFS_DRIVER, deletionPolicy: 'Delete' },
    },
  ];
}
