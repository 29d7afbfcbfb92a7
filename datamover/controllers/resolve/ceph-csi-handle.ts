import { DatamoverError } from '../../errors.ts';

/**
 * A volume's or snapshot's handle as ceph-csi makes it (its CSIIdentifier, version 1):
 *
 *     0001-<length of the cluster ID, 4 hex digits>-<cluster ID>-<pool ID, 16 hex digits>-<UUID>
 */
export interface CephCsiHandle {
  /** Names the cluster in ceph-csi's configuration; it may have dashes of its own. */
  readonly clusterId: string;
  readonly poolId: number;
  /** Names the journal object in the pool that knows the image: `csi.snap.<uuid>`, `csi.volume.<uuid>`. */
  readonly uuid: string;
}

const VERSION = '0001';
const MAX_LENGTH = 128;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** What names of Kubernetes namespaces and Ceph's own ids are made of: nothing that a command could take for an option. */
const CLUSTER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

export function decodeCephCsiHandle(handle: string): CephCsiHandle {
  if (handle.length > MAX_LENGTH) throw unreadable(handle, `it is longer than ${MAX_LENGTH} characters`);
  const head = /^([0-9a-f]{4})-([0-9a-f]{4})-/.exec(handle);
  const [, version, length] = head ?? [];
  if (version === undefined || length === undefined)
    throw unreadable(handle, 'it does not begin with a version and a length');
  if (version !== VERSION) throw unreadable(handle, `its version is ${version}, known is ${VERSION}`);
  const start = VERSION.length + 1 + 4 + 1;
  const end = start + Number.parseInt(length, 16);
  const clusterId = handle.slice(start, end);
  const rest = /^-([0-9a-f]{16})-(.*)$/s.exec(handle.slice(end));
  const [, pool, uuid] = rest ?? [];
  if (pool === undefined || uuid === undefined || !UUID.test(uuid))
    throw unreadable(handle, 'no pool and UUID follow the cluster ID');
  if (!CLUSTER_ID.test(clusterId)) throw unreadable(handle, `its cluster ID is ${JSON.stringify(clusterId)}`);
  const poolId = Number.parseInt(pool, 16);
  if (!Number.isSafeInteger(poolId)) throw unreadable(handle, `its pool ID ${pool} is out of range`);
  return { clusterId, poolId, uuid };
}

function unreadable(handle: string, cause: string): DatamoverError {
  return new DatamoverError({
    operation: 'read ceph-csi handle',
    subject: JSON.stringify(handle.slice(0, MAX_LENGTH + 1)),
    cause,
    hint: 'only volumes and snapshots that ceph-csi made can be moved',
    kind: 'usage',
  });
}
