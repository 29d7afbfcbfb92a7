import { makeClient } from '../../datamover/kubernetes/client.ts';
import { loadConfiguration } from '../../datamover/kubernetes/configuration.ts';
import { pluginExecutable } from '../../plugin/testing/executable.ts';
import { startDaemon } from '../servers/daemon.ts';
import { startOwnCluster, type OwnCluster } from '../servers/kubernetes.ts';
import { startMinio } from '../servers/minio.ts';
import { installKinds } from '../servers/mover.ts';
import { requirePeer } from '../servers/peers.ts';
import { startVelero, VELERO_PEERS, type Velero } from '../servers/velero.ts';
import { DOUBLE_DRIVER, startSnapshotterDouble } from './doubles/csi-snapshotter.ts';
import { moverDouble, type MoverDouble } from './doubles/mover.ts';

export const PATH_B_PEERS = [...VELERO_PEERS, 'snapshot-controller'] as const;

/** A real Velero with our plugin, real API server and snapshot-controller; doubles of the CSI sidecar and of the mover. */
export interface PathBSite {
  readonly cluster: OwnCluster;
  readonly velero: Velero;
  readonly mover: MoverDouble;
  /** A namespace with bound claims of these names. */
  makeApplication(claims: readonly string[]): Promise<string>;
  /** Gives a claim an empty volume, as its driver's provisioner would one from the claim's data source. */
  provision(namespace: string, claim: string): Promise<void>;
  /** Our kinds, which are not there when Velero starts. */
  installKinds(): Promise<void>;
  /** The plugin's ConfigMap; without `data` there is none. */
  configure(data: Readonly<Record<string, string>> | undefined): Promise<void>;
  /** `.status.phase` of a Velero object, once it is one of these; fails at another that nothing follows. */
  phase(kind: 'backup' | 'restore', name: string, wanted: string): Promise<void>;
  json<T>(...args: string[]): Promise<T>;
  stop(): Promise<void>;
}

const FINAL = ['Completed', 'PartiallyFailed', 'Failed', 'FailedValidation'];

export async function startPathB(): Promise<PathBSite> {
  const [cluster, s3] = await Promise.all([startOwnCluster(), startMinio()]);
  await cluster.installSnapshotCrds();
  await cluster.apply(...classes());
  const controller = await startDaemon({
    file: requirePeer('snapshot-controller').file,
    args: [`--kubeconfig=${cluster.kubeconfig}`, '--kube-api-qps=100', '--kube-api-burst=200'],
    env: { KUBERNETES_SERVICE_HOST: undefined },
    ready: () => Promise.resolve(true),
  });
  const client = makeClient(loadConfiguration({ kubeconfig: cluster.kubeconfig }), {
    fieldManager: 'tests',
  });
  const mover = moverDouble(client);
  const snapshotter = startSnapshotterDouble(client);
  const velero = await startVelero({
    ...{ cluster, s3, plugin: await pluginExecutable() },
    args: ['--garbage-collection-frequency=3s'],
  });
  const json: PathBSite['json'] = async <T>(...args: string[]) =>
    JSON.parse(await cluster.kubectl(['get', ...args, '--output=json'])) as T;
  return {
    ...{ cluster, velero, mover, json },
    async makeApplication(claims) {
      const namespace = await cluster.makeNamespace();
      await cluster.apply(...claims.flatMap((claim) => boundClaim(namespace, claim)));
      for (const claim of claims)
        await cluster.kubectl([
          ...['wait', '--for=jsonpath={.status.phase}=Bound', `pvc/${claim}`],
          ...[`--namespace=${namespace}`, '--timeout=120s'],
        ]);
      return namespace;
    },
    provision: (namespace, claim) => cluster.apply(volumeFor(namespace, claim)),
    installKinds: () => installKinds(cluster),
    async configure(data) {
      if (data !== undefined) return cluster.apply(pluginConfig(velero.namespace, data));
      await cluster.kubectl(['delete', 'configmap', 'datamover', `--namespace=${velero.namespace}`]);
    },
    async phase(kind, name, wanted) {
      await mover.eventually(`${kind} ${name} ${wanted}`, async () => {
        const { status } = await json<{ status?: { phase?: string } }>(
          ...[`${kind}s.velero.io`, name, `--namespace=${velero.namespace}`],
        );
        const phase = status?.phase ?? '';
        if (phase === wanted) return true;
        if (FINAL.includes(phase)) {
          const said = await velero.cli(kind, 'describe', name, '--details');
          throw new Error(`${kind} ${name} is ${phase}, not ${wanted}: ${said}`);
        }
        return undefined;
      });
    },
    async stop() {
      await velero.stop();
      await snapshotter.stop();
      client.close();
      await controller.stop();
      await cluster.stop();
      await s3.stop();
    },
  };
}

function classes(): object[] {
  return [
    {
      ...{ apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name: 'double' } },
      provisioner: DOUBLE_DRIVER,
    },
    {
      ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotClass' },
      ...{ metadata: { name: 'double' }, driver: DOUBLE_DRIVER, deletionPolicy: 'Delete' },
    },
  ];
}

function pluginConfig(namespace: string, data: Readonly<Record<string, string>>): object {
  const labels = { 'velero.io/plugin-config': '', 'datamover.io/move-snapshot': 'BackupItemActionV2' };
  return {
    ...{ apiVersion: 'v1', kind: 'ConfigMap', data },
    metadata: { name: 'datamover', namespace, labels },
  };
}

const SIZE = { storage: '1Gi' };
const COMMON = { accessModes: ['ReadWriteOnce'], storageClassName: 'double' };

function volumeFor(namespace: string, claim: string): object {
  const name = `${namespace}-${claim}`;
  return {
    ...{ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name } },
    spec: {
      ...{ ...COMMON, capacity: SIZE, persistentVolumeReclaimPolicy: 'Delete' },
      claimRef: { kind: 'PersistentVolumeClaim', namespace, name: claim },
      csi: { driver: DOUBLE_DRIVER, volumeHandle: name },
    },
  };
}

function boundClaim(namespace: string, name: string): object[] {
  return [
    volumeFor(namespace, name),
    {
      ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name, namespace } },
      spec: { ...COMMON, volumeName: `${namespace}-${name}`, resources: { requests: SIZE } },
    },
  ];
}
