import type { Cluster } from './kubernetes.ts';

export interface ClaimWish {
  readonly namespace: string;
  readonly name: string;
  readonly storageClass: string;
  /** A quantity: `64Mi`. */
  readonly size: string;
  /** Filesystem without it. */
  readonly mode?: 'Block' | 'Filesystem';
  readonly labels?: Readonly<Record<string, string>>;
  /** The name of a VolumeSnapshot that it begins as. */
  readonly snapshot?: string;
}

/** The manifest of a PersistentVolumeClaim. */
export function claim(wish: ClaimWish): object {
  const { namespace, name, storageClass, size, mode = 'Filesystem', labels = {}, snapshot } = wish;
  const dataSource = { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: snapshot };
  return {
    ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { namespace, name, labels } },
    spec: {
      ...{ accessModes: ['ReadWriteOnce'], volumeMode: mode, storageClassName: storageClass },
      resources: { requests: { storage: size } },
      ...(snapshot === undefined ? {} : { dataSource }),
    },
  };
}

/** The manifest of a VolumeSnapshot. */
export function snapshotOf(wish: {
  readonly namespace: string;
  readonly name: string;
  readonly claim: string;
  readonly snapshotClass: string;
}): object {
  const { namespace, name, snapshotClass } = wish;
  return {
    ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshot', metadata: { namespace, name } },
    spec: { source: { persistentVolumeClaimName: wish.claim }, volumeSnapshotClassName: snapshotClass },
  };
}

/** As much of a PersistentVolume as tests look at. */
export interface BoundVolume {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly csi: { readonly driver: string; readonly volumeHandle: string } & {
      readonly volumeAttributes: Readonly<Record<string, string>>;
    };
    readonly nodeAffinity?: object;
  };
}

/** Waits until a claim has its volume, and gives that. */
export async function boundVolume(
  cluster: Pick<Cluster, 'kubectl'>,
  namespace: string,
  name: string,
): Promise<BoundVolume> {
  const where = ['--namespace', namespace];
  const bound = ['wait', '--for=jsonpath={.status.phase}=Bound', `pvc/${name}`, '--timeout=180s', ...where];
  await cluster.kubectl(bound).catch(async (cause: unknown) => {
    const events = await cluster.kubectl(['get', 'events', ...where, '--output=custom-columns=M:.message']);
    throw new Error(`claim ${namespace}/${name} has no volume: ${events}`, { cause });
  });
  const volume = await cluster.kubectl([
    'get',
    'pvc',
    name,
    ...where,
    '--output=jsonpath={.spec.volumeName}',
  ]);
  return JSON.parse(await cluster.kubectl(['get', 'pv', volume, '--output=json'])) as BoundVolume;
}

/** Waits until a snapshot is ready, and gives its handle. */
export async function readySnapshot(cluster: Cluster, namespace: string, name: string): Promise<string> {
  const where = ['--namespace', namespace];
  await cluster.kubectl([
    ...[
      'wait',
      '--for=jsonpath={.status.readyToUse}=true',
      `volumesnapshot/${name}`,
      '--timeout=180s',
      ...where,
    ],
  ]);
  const path = '--output=jsonpath={.status.boundVolumeSnapshotContentName}';
  const content = await cluster.kubectl(['get', 'volumesnapshot', name, ...where, path]);
  return cluster.kubectl([
    ...['get', 'volumesnapshotcontent', content, '--output=jsonpath={.status.snapshotHandle}'],
  ]);
}
