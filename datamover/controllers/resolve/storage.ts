import { REASONS } from '../../../api/names.ts';
import { OPENEBS } from '../../../api/neighbours/openebs.ts';
import type { TransferStorage } from '../../../api/transfer.ts';
import { orMissing } from '../../kubernetes/api-error.ts';
import type { Client } from '../../kubernetes/client.ts';
import { ZFS_SNAPSHOTS, ZFS_VOLUMES } from '../../kubernetes/neighbour-resources.ts';
import { NODES } from '../../kubernetes/storage-resources.ts';
import { Slots } from '../../store/slots.ts';
import { findCsiImage } from '../../volumes/rbd/csi-journal.ts';
import { formatImageName } from '../../volumes/rbd/image-name.ts';
import { TransferFailure } from '../failure.ts';
import type { ControllerSettings } from '../settings.ts';
import { findCephCluster } from './ceph-csi-config.ts';
import { decodeCephCsiHandle } from './ceph-csi-handle.ts';
import {
  readCephAccess,
  readCephCsiConfig,
  withCephFiles,
  type CephAccess,
  type SecretName,
} from './ceph-secret.ts';
import { decodeZfsSnapshotHandle, zfsSnapshotName, zfsVolumeName } from './zfs-localpv-handle.ts';

export interface Site {
  readonly client: Client;
  readonly settings: ControllerSettings;
}

/** Where a volume or a snapshot is, and what an agent needs to get at it. */
export interface FoundStorage {
  readonly storage: Pick<TransferStorage, 'driver' | 'location'>;
  /** The only node that reaches it; any that has the driver without it. */
  readonly node?: string;
}

/** The ZFS snapshot behind a handle of zfs-localpv: pool and node are on its ZFSSnapshot. */
export async function findZfsSnapshot({ client, settings }: Site, handle: string): Promise<FoundStorage> {
  const names = decodeZfsSnapshotHandle(handle);
  const place = settings.zfsNamespace;
  const found = await orMissing(client.of(ZFS_SNAPSHOTS).get(place, names.snapshot));
  if (found === undefined) throw missing('ZFSSnapshot', `${place}/${names.snapshot}`);
  const location = zfsSnapshotName(found.spec.poolName, names);
  return { storage: { driver: 'zfs', location }, node: await nodeOfZfs(client, found.spec.ownerNodeID) };
}

/** The dataset behind a volume of zfs-localpv. */
export async function findZfsVolume({ client, settings }: Site, handle: string): Promise<FoundStorage> {
  const place = settings.zfsNamespace;
  const found = await orMissing(client.of(ZFS_VOLUMES).get(place, handle));
  if (found === undefined) throw missing('ZFSVolume', `${place}/${handle}`);
  const location = zfsVolumeName(found.spec.poolName, handle);
  return { storage: { driver: 'zfs', location }, node: await nodeOfZfs(client, found.spec.ownerNodeID) };
}

/** zfs-localpv names nodes by their label `openebs.io/nodeid`, and by their name where they have none. */
async function nodeOfZfs(client: Client, id: string): Promise<string> {
  const { items } = await client.of(NODES).list({ labelSelector: `${OPENEBS.nodeId}=${id}` });
  const [labelled] = items;
  return labelled?.metadata.name ?? id;
}

function missing(kind: string, subject: string): TransferFailure {
  return new TransferFailure({
    ...{ operation: `find ${kind}`, subject, cause: 'it does not exist' },
    hint: "check the controller's --zfs-namespace, and that the snapshot was not deleted",
    reason: REASONS.snapshotMissing,
  });
}

/** The RBD image behind a handle of ceph-csi, as its journal has it; of a snapshot, the snap on that image. */
export async function findRbd(
  site: Site,
  kind: 'snapshot' | 'volume',
  handle: string,
  secret: SecretName,
  signal: AbortSignal,
): Promise<FoundStorage> {
  const { clusterId, poolId, uuid } = decodeCephCsiHandle(handle);
  const { access, radosNamespace } = await cephAccessOf(site, clusterId, secret);
  const place = radosNamespace === undefined ? {} : { radosNamespace };
  const { name } = await inTurn(signal, () =>
    withCephFiles(access, (connection) => findCsiImage(connection, { kind, poolId, uuid, ...place }, signal)),
  );
  // ceph-csi names the snap as the image that it cloned for it.
  const location = formatImageName(kind === 'snapshot' ? { ...name, snap: name.image } : name);
  return { storage: { driver: 'rbd', location } };
}

/** Of this process: each is a chain of children, `rados`, of some 40 MiB. */
const JOURNALS = new Slots(2);

async function inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (!(await JOURNALS.take(signal))) throw signal.reason;
  try {
    return await work();
  } finally {
    JOURNALS.give();
  }
}

/** What opens the cluster that a handle names. */
export async function cephAccessOf(
  { client, settings }: Site,
  clusterId: string,
  secret: SecretName,
): Promise<{ readonly access: CephAccess; readonly radosNamespace: string | undefined }> {
  if (settings.cephCsiConfig === undefined) {
    throw new TransferFailure({
      operation: 'find Ceph cluster',
      subject: clusterId,
      cause: 'the controller knows no configuration of ceph-csi',
      hint: 'give it --ceph-csi-config NAMESPACE/CONFIGMAP',
      reason: REASONS.error,
      retryable: false,
    });
  }
  const config = await readCephCsiConfig(client, settings.cephCsiConfig);
  const cluster = findCephCluster(config, clusterId);
  const access = await readCephAccess(client, secret, cluster);
  return { access, radosNamespace: cluster.radosNamespace };
}
