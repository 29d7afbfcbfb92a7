import { pluginExecutable } from '../../plugin/testing/executable.ts';
import { startCeph, type CephCluster } from '../servers/ceph.ts';
import { startMinio } from '../servers/minio.ts';
import { installKinds, MOVER_PEERS, startMover, type AgentOptions, type Mover } from '../servers/mover.ts';
import { startOpenZfs, type OpenZfs } from '../servers/openzfs.ts';
import { addRbdStorage, type RbdStorage } from '../servers/rbd-storage.ts';
import type { S3Server } from '../servers/s3-server.ts';
import { RBD_STORAGE_PEERS, startStorageCluster, type StorageCluster } from '../servers/storage-cluster.ts';
import { startVelero, type Velero } from '../servers/velero.ts';
import { addZfsStorage, type ZfsStorage } from '../servers/zfs-storage.ts';

/** What the whole system needs, for `describePeers`. */
export const SYSTEM_PEERS = [...RBD_STORAGE_PEERS, ...MOVER_PEERS, 'velero', 'minio'] as const;

export interface SystemOptions {
  /** OpenZFS too, in its virtual machine. */
  readonly zfs?: boolean;
  /** Velero's namespace; one that no other has without it. */
  readonly veleroNamespace?: string;
  /** Velero's bucket and the repositories' password, for a second cluster on the same backups. */
  readonly shared?: { readonly bucket: string; readonly password: string };
  /** More flags of `datamover controller`. */
  readonly controllerArgs?: readonly string[];
  /** More flags of `velero server`. */
  readonly veleroArgs?: readonly string[];
  /** Told of each step. */
  readonly onStep?: (what: string) => void;
}

/** Everything on one machine, on its loopback alone: a cluster with storage, S3, Velero with our plugin, our controller and agents. */
export interface System {
  readonly cluster: StorageCluster;
  readonly ceph: CephCluster;
  readonly s3: S3Server;
  readonly rbd: RbdStorage;
  readonly machine?: OpenZfs;
  readonly zfs?: ZfsStorage;
  readonly velero: Velero;
  readonly mover: Mover;
  stop(): Promise<void>;
}

export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const step = options.onStep ?? (() => undefined);
  const started: { stop(): Promise<void> }[] = [];
  const keep = async <T extends { stop(): Promise<void> }>(what: string, begun: Promise<T>): Promise<T> => {
    const server = await begun;
    started.push(server);
    step(what);
    return server;
  };
  const stop = async (): Promise<void> => {
    for (const server of started.splice(0).toReversed()) await server.stop();
  };
  try {
    const s3 = await keep('MinIO', startMinio());
    const ceph = await keep('Ceph', startCeph());
    const cluster = await keep(
      'Kubernetes with two nodes and the snapshot-controller',
      // The agent of node-b is the one with ZFS.
      startStorageCluster({ zfsNodes: ['node-b'] }),
    );
    const rbd = await keep('CSI: Ceph RBD', addRbdStorage(cluster, ceph));
    const machine = options.zfs === true ? await keep('OpenZFS', startOpenZfs({ own: true })) : undefined;
    const zfs =
      machine === undefined ? undefined : await keep('CSI: OpenEBS ZFS', addZfsStorage(cluster, machine));
    const { veleroNamespace, shared } = options;
    if (veleroNamespace !== undefined) await cluster.kubectl(['create', 'namespace', veleroNamespace]);
    await installKinds(cluster);
    const velero = await keep(
      'Velero with the plugin',
      startVelero({
        ...{ cluster, s3, plugin: await pluginExecutable() },
        ...(veleroNamespace === undefined ? {} : { namespace: veleroNamespace }),
        ...(shared === undefined ? {} : { bucket: shared.bucket }),
        ...(options.veleroArgs === undefined ? {} : { args: options.veleroArgs }),
      }),
    );
    const agents: readonly AgentOptions[] = [
      { node: 'node-a', drivers: 'rbd' },
      { node: 'node-b', drivers: machine === undefined ? 'rbd' : 'zfs', ...(machine && { machine }) },
    ];
    const mover = await keep(
      'datamover controller and agents',
      startMover({
        ...{ cluster, veleroNamespace: velero.namespace, agents, cephCsiConfig: rbd.configMap },
        ...(zfs === undefined ? {} : { zfsNamespace: zfs.namespace }),
        ...(options.controllerArgs === undefined ? {} : { args: options.controllerArgs }),
        ...(shared === undefined ? {} : { password: shared.password }),
      }),
    );
    const optional = { ...(machine === undefined ? {} : { machine }), ...(zfs === undefined ? {} : { zfs }) };
    return { cluster, ceph, s3, rbd, velero, mover, stop, ...optional };
  } catch (error) {
    await stop();
    throw error;
  }
}
