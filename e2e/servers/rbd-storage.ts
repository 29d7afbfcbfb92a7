import { randomBytes, createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Librbd } from '../../datamover/volumes/rbd/testing/librbd.ts';
import { run, start } from '../../datamover/process/spawn.ts';
import type { CephEndpoint } from './ceph.ts';
import { boundVolume } from './claims.ts';
import { RBD_DRIVER, RbdDouble } from './csi/rbd-double.ts';
import { startSidecars, type Sidecars } from './csi/sidecars.ts';
import type { Cluster } from './kubernetes.ts';
import { scratchDirectory } from './scratch.ts';

/** Ceph RBD in a cluster, set up as ceph-csi's own documentation does. */
export interface RbdStorage {
  readonly driver: typeof RBD_DRIVER;
  /** StorageClasses with immediate binding, and with WaitForFirstConsumer. */
  readonly storageClass: string;
  readonly waitingStorageClass: string;
  /** With deletion policy Delete, and labelled for Velero. */
  readonly snapshotClass: string;
  readonly pool: string;
  readonly clusterId: string;
  /** `NAMESPACE/NAME` of ceph-csi's configuration, for `--ceph-csi-config`. */
  readonly configMap: string;
  /** Namespace and name of the secret with `userID` and `userKey`. */
  readonly secret: { readonly namespace: string; readonly name: string };
  readonly sidecars: Sidecars;
  /** The image of a bound claim. */
  imageOf(namespace: string, claim: string): Promise<string>;
  /** Writes into a bound claim's volume, as its pod would. */
  write(namespace: string, claim: string, offset: number, bytes: Uint8Array): Promise<void>;
  /** SHA-256 of a bound claim's volume. */
  digest(namespace: string, claim: string): Promise<string>;
  /** Names of all images of the pool, without those in the trash. */
  images(): Promise<string[]>;
  trash(): Promise<string[]>;
  /** Ends the sidecars and removes the pool. */
  stop(): Promise<void>;
}

const NAMESPACE = 'ceph-csi';
const CLUSTER_ID = 'rook-ceph';

/** Adds StorageClass, VolumeSnapshotClass, secret and configuration, and a driver: real sidecars on our RbdDouble. */
export async function addRbdStorage(cluster: Cluster, ceph: CephEndpoint): Promise<RbdStorage> {
  const home = await scratchDirectory('rbd-csi');
  const pool = `csi-${randomBytes(4).toString('hex')}`;
  const env = ceph.environment;
  const tool = async (file: string, ...args: string[]): Promise<string> =>
    (await run({ file, args, env })).stdout;
  const user = `csi-rbd-${pool}`;
  const [poolId, userKey] = await makePool(tool, pool, user);
  const secret = { namespace: NAMESPACE, name: 'csi-rbd-secret' };
  await cluster.apply(...objects({ ceph, pool, secret, userID: user, userKey }));
  const driver = new RbdDouble({ environment: env, home, clusterId: CLUSTER_ID, pool, poolId });
  const sidecars = await startSidecars(driver, { kubeconfig: cluster.kubeconfig, home });
  const volumes = rbdVolumes(cluster, { ...ceph, pool });
  const named = async (...args: string[]): Promise<string[]> =>
    (
      JSON.parse(await tool('rbd', ...args, '--pool', pool, '--format', 'json')) as (
        string | { id: string }
      )[]
    ).map((entry) => (typeof entry === 'string' ? entry : entry.id));
  return {
    ...{ driver: RBD_DRIVER, storageClass: 'rbd', waitingStorageClass: 'rbd-wait', snapshotClass: 'rbd' },
    ...{ pool, clusterId: CLUSTER_ID, configMap: `${NAMESPACE}/ceph-csi-config`, secret, sidecars },
    ...volumes,
    images: () => named('ls'),
    trash: () => named('trash', 'ls'),
    async stop() {
      await sidecars.stop();
      await tool('ceph', 'osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it');
      await tool('ceph', 'auth', 'rm', `client.${user}`);
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** The volumes of claims on RBD, for whoever did not start the storage itself. */
export function rbdVolumes(
  cluster: Pick<Cluster, 'kubectl'>,
  ceph: CephEndpoint,
): Pick<RbdStorage, 'imageOf' | 'write' | 'digest'> {
  const imageOf = async (namespace: string, claim: string): Promise<string> => {
    const { spec } = await boundVolume(cluster, namespace, claim);
    return spec.csi.volumeAttributes['imageName'] ?? '';
  };
  return {
    imageOf,
    async write(namespace, claim, offset, bytes) {
      const name = await imageOf(namespace, claim);
      const librbd = new Librbd(ceph);
      try {
        const image = librbd.open(name);
        image.write(offset, bytes);
        image.close();
      } finally {
        librbd.close();
      }
    },
    async digest(namespace, claim) {
      const image = `${ceph.pool}/${await imageOf(namespace, claim)}`;
      const args = ['export', '--no-progress', image, '-'];
      return digestOf({ file: 'rbd', args, env: ceph.environment });
    },
  };
}

/** SHA-256 of what a program prints. */
export async function digestOf(command: Parameters<typeof start>[0]): Promise<string> {
  const running = await start(command);
  const hash = createHash('sha256');
  for await (const chunk of running.stdout as AsyncIterable<Buffer>) hash.update(chunk);
  await running.finished;
  return hash.digest('hex');
}

type Tool = (file: string, ...args: string[]) => Promise<string>;

/** A pool of its own, so that nothing else is in it, and a user with the rights that Rook gives its provisioner. */
async function makePool(tool: Tool, pool: string, user: string): Promise<[number, string]> {
  await tool('ceph', 'osd', 'pool', 'create', pool, '8', '8');
  await tool('rbd', 'pool', 'init', pool);
  const caps = ['mon', 'profile rbd', 'mgr', 'allow rw', 'osd', `profile rbd pool=${pool}`];
  const key = await tool('ceph', 'auth', 'get-or-create-key', `client.${user}`, ...caps);
  const pools = JSON.parse(await tool('ceph', 'osd', 'lspools', '--format', 'json')) as {
    poolnum: number;
    poolname: string;
  }[];
  const id = pools.find(({ poolname }) => poolname === pool)?.poolnum;
  if (id === undefined) throw new Error(`the pool ${pool} is not there`);
  return [id, key.trim()];
}

interface Setup {
  readonly ceph: CephEndpoint;
  readonly pool: string;
  readonly secret: { readonly namespace: string; readonly name: string };
  readonly userID: string;
  readonly userKey: string;
}

function objects({ ceph, pool, secret, userID, userKey }: Setup): object[] {
  const config = [{ clusterID: CLUSTER_ID, monitors: [ceph.monitor] }];
  const secretFor = (what: string) => ({
    [`csi.storage.k8s.io/${what}-secret-name`]: secret.name,
    [`csi.storage.k8s.io/${what}-secret-namespace`]: secret.namespace,
  });
  const storageClass = (name: string, volumeBindingMode: string) => ({
    ...{ apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name } },
    ...{ provisioner: RBD_DRIVER, reclaimPolicy: 'Delete', volumeBindingMode },
    allowVolumeExpansion: true,
    parameters: {
      ...{ clusterID: CLUSTER_ID, pool, imageFormat: '2' },
      imageFeatures: 'layering,exclusive-lock,object-map,fast-diff,deep-flatten',
      ...secretFor('provisioner'),
      ...secretFor('controller-expand'),
      ...secretFor('node-stage'),
      'csi.storage.k8s.io/fstype': 'ext4',
    },
  });
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    { apiVersion: 'v1', kind: 'Secret', metadata: secret, stringData: { userID, userKey } },
    {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ceph-csi-config', namespace: NAMESPACE } },
      data: { 'config.json': JSON.stringify(config), 'cluster-mapping.json': '[]' },
    },
    storageClass('rbd', 'Immediate'),
    storageClass('rbd-wait', 'WaitForFirstConsumer'),
    {
      ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotClass' },
      metadata: { name: 'rbd', labels: { 'velero.io/csi-volumesnapshot-class': 'true' } },
      ...{ driver: RBD_DRIVER, deletionPolicy: 'Delete' },
      parameters: { clusterID: CLUSTER_ID, ...secretFor('snapshotter'), ...secretFor('snapshotter-list') },
    },
  ];
}
