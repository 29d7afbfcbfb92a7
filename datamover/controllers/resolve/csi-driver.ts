import type { DriverName } from '../../volumes/driver.ts';

/**
 * Which storage stands behind a CSI driver's name, undefined where it is none of ours. Rook, ODF and operators of several
 * clusters put their namespace before ceph-csi's name (`rook-ceph.rbd.csi.ceph.com`).
 */
export function storageOf(csiDriver: string): Extract<DriverName, 'zfs' | 'rbd'> | undefined {
  if (csiDriver === 'zfs.csi.openebs.io') return 'zfs';
  return /^(.+\.)?rbd\.csi\.ceph\.com$/.test(csiDriver) ? 'rbd' : undefined;
}
