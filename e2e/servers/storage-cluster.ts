import { OPENEBS, OPENEBS_ZFS_DRIVER } from '../../api/neighbours/openebs.ts';
import { RBD_DRIVER } from './csi/rbd-double.ts';
import { answers } from './daemon.ts';
import { KUBERNETES_PEERS, startOwnCluster, type OwnCluster } from './kubernetes.ts';
import { requirePeer, type PeerName } from './peers.ts';
import { freePorts } from './ports.ts';
import { startRestartable, type Restartable } from './restartable.ts';

/** What a cluster with snapshots of volumes needs, for `describePeers`. */
export const STORAGE_PEERS = [
  ...KUBERNETES_PEERS,
  'snapshot-controller',
  'csi-snapshotter',
  'csi-provisioner',
] as const satisfies readonly PeerName[];

/** With `addRbdStorage`. */
export const RBD_STORAGE_PEERS = [...STORAGE_PEERS, 'ceph'] as const satisfies readonly PeerName[];
/** With `addZfsStorage`. */
export const ZFS_STORAGE_PEERS = [...STORAGE_PEERS, 'openzfs'] as const satisfies readonly PeerName[];

/** The nodes of such a cluster: objects alone, without kubelets. */
export const NODES = ['node-a', 'node-b'] as const;

export interface StorageClusterOptions {
  /** The nodes that zfs-localpv runs on; all without it. */
  readonly zfsNodes?: readonly string[];
}

export interface StorageCluster extends OwnCluster {
  readonly snapshotController: Restartable;
}

/**
 * A cluster of one's own with two nodes and the real snapshot-controller. Storage is added to it: `addRbdStorage(cluster, ceph)`,
 * `addZfsStorage(cluster, machine)`; stop those before it.
 */
export async function startStorageCluster(options: StorageClusterOptions = {}): Promise<StorageCluster> {
  const { zfsNodes = NODES } = options;
  const cluster = await startOwnCluster();
  try {
    await cluster.installSnapshotCrds();
    await cluster.apply(...NODES.flatMap((name) => nodeObjects(name, zfsNodes.includes(name))));
    const snapshotController = await startSnapshotController(cluster);
    const stop = async (): Promise<void> => {
      await snapshotController.kill();
      await cluster.stop();
    };
    return { ...cluster, snapshotController, stop };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** A node, and what runs on it. */
export function nodeObjects(name: string, zfs: boolean): object[] {
  // zfs-localpv's own label is where its node service runs, and the provisioner goes by it.
  const own = zfs ? { [OPENEBS.nodeId]: name } : {};
  const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', ...own };
  const drivers = [
    { name: RBD_DRIVER, nodeID: name, topologyKeys: [] },
    ...(zfs ? [{ name: OPENEBS_ZFS_DRIVER, nodeID: name, topologyKeys: [OPENEBS.nodeId] }] : []),
  ];
  return [
    { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } },
    { apiVersion: 'storage.k8s.io/v1', kind: 'CSINode', metadata: { name }, spec: { drivers } },
  ];
}

async function startSnapshotController({ kubeconfig }: OwnCluster): Promise<Restartable> {
  const port = await freePorts(1);
  return startRestartable({
    file: requirePeer('snapshot-controller').file,
    args: [
      ...[`--kubeconfig=${kubeconfig}`, `--http-endpoint=127.0.0.1:${port}`],
      ...['--retry-interval-start=200ms', '--retry-interval-max=5s'],
      ...['--kube-api-qps=100', '--kube-api-burst=200'],
    ],
    ready: () => answers(`http://127.0.0.1:${port}/metrics`),
  });
}
