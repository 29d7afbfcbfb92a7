import { DatamoverError } from '../../errors.ts';

/**
 * A snapshot's handle as OpenEBS zfs-localpv makes it: `<volume>@<snapshot>`. It has neither pool nor node: the ZFSSnapshot
 * named `snapshot` in OpenEBS' namespace has them.
 */
export interface ZfsSnapshotHandle {
  /** Name of the ZFSVolume and of the volume's dataset in its pool. */
  readonly volume: string;
  /** Name of the ZFSSnapshot and of the dataset's snapshot. */
  readonly snapshot: string;
}

/** Names of Kubernetes objects, which are also safe as parts of ZFS names. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
/** A pool, or a dataset in it below which the volumes lie (StorageClass parameter `poolname`). */
const POOL = /^[A-Za-z][A-Za-z0-9_.:-]*(\/[A-Za-z0-9_.:][A-Za-z0-9_.:-]*)*$/;

export function decodeZfsSnapshotHandle(handle: string): ZfsSnapshotHandle {
  const [volume = '', snapshot = '', ...more] = handle.split('@');
  if (more.length > 0 || !NAME.test(volume) || !NAME.test(snapshot)) {
    throw unusable('handle', handle, 'it is not of the form VOLUME@SNAPSHOT');
  }
  return { volume, snapshot };
}

/** The name that `zfs` knows a snapshot by. */
export function zfsSnapshotName(poolName: string, { volume, snapshot }: ZfsSnapshotHandle): string {
  return `${zfsVolumeName(poolName, volume)}@${snapshot}`;
}

/** The name that `zfs` knows a volume by. */
export function zfsVolumeName(poolName: string, volume: string): string {
  if (!POOL.test(poolName)) throw unusable('pool', poolName, 'ZFS has no pools of that name');
  if (!NAME.test(volume)) throw unusable('handle', volume, 'it is no name of a volume');
  return `${poolName}/${volume}`;
}

function unusable(what: string, subject: string, cause: string): DatamoverError {
  return new DatamoverError({
    operation: `read zfs-localpv ${what}`,
    subject: JSON.stringify(subject.slice(0, 256)),
    cause,
    hint: 'only volumes and snapshots that zfs-localpv made can be moved',
    kind: 'usage',
  });
}
