/**
 * OpenEBS zfs-localpv's own objects (`zfs.openebs.io/v1`), as far as they are read and made here: they lie in its namespace,
 * named as the volume and as the snapshot.
 * https://github.com/openebs/zfs-localpv/tree/develop/pkg/apis/openebs.io/zfs/v1
 */
import type { KubernetesObject } from '../schema/kind.ts';

export const OPENEBS_ZFS_VERSION = 'zfs.openebs.io/v1';
export const OPENEBS_ZFS_DRIVER = 'zfs.csi.openebs.io';

export interface ZfsVolumeSpec {
  /** The value of the node's label `openebs.io/nodeid`, or its name where it has none. */
  readonly ownerNodeID: string;
  /** May be a dataset below a pool: `pool/child`. */
  readonly poolName: string;
  /** `volume@snapshot`, where the volume is a clone. */
  readonly snapname?: string;
  /** Bytes, as text. */
  readonly capacity: string;
  readonly recordsize?: string;
  readonly volblocksize?: string;
  readonly compression?: string;
  readonly dedup?: 'on' | 'off';
  readonly encryption?: string;
  readonly keylocation?: string;
  readonly keyformat?: 'passphrase' | 'raw' | 'hex';
  readonly thinProvision?: 'yes' | 'no';
  readonly volumeType: 'ZVOL' | 'DATASET';
  readonly quotaType?: 'quota' | 'refquota';
  readonly fsType?: string;
  readonly shared?: 'yes' | 'no';
}

interface ZfsStatus {
  readonly state?: 'Pending' | 'Ready' | 'Failed';
}

export type ZFSVolume = KubernetesObject<ZfsVolumeSpec, ZfsStatus>;
/** Its spec is a copy of its volume's. */
export type ZFSSnapshot = KubernetesObject<ZfsVolumeSpec, ZfsStatus>;

export const OPENEBS = {
  finalizer: 'zfs.openebs.io/finalizer',
  nodeId: 'openebs.io/nodeid',
  /** On a ZFSSnapshot: the name of its volume. */
  persistentVolume: 'openebs.io/persistent-volume',
  nodeName: 'kubernetes.io/nodename',
} as const;
