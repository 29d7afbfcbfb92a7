import type { DataProtectionApplication } from '../../api/neighbours/oadp.ts';
import type { ZFSSnapshot, ZFSVolume } from '../../api/neighbours/openebs.ts';
import type {
  VolumeSnapshot,
  VolumeSnapshotClass,
  VolumeSnapshotContent,
} from '../../api/neighbours/snapshot.ts';
import type { DataDownload, DataUpload } from '../../api/neighbours/velero.ts';
import type { KubernetesObject } from './object.ts';
import { defineResource } from './resource.ts';

/** Where the API serves the kinds of others; a cluster need not have all of them. */

const snapshots = { group: 'snapshot.storage.k8s.io', version: 'v1' } as const;

export const SNAPSHOTS = defineResource<VolumeSnapshot>({
  ...{ ...snapshots, kind: 'VolumeSnapshot', plural: 'volumesnapshots', namespaced: true },
});
export const SNAPSHOT_CONTENTS = defineResource<VolumeSnapshotContent>({
  ...{ ...snapshots, kind: 'VolumeSnapshotContent', plural: 'volumesnapshotcontents', namespaced: false },
});
export const SNAPSHOT_CLASSES = defineResource<VolumeSnapshotClass>({
  ...{ ...snapshots, kind: 'VolumeSnapshotClass', plural: 'volumesnapshotclasses', namespaced: false },
});

const zfs = { group: 'zfs.openebs.io', version: 'v1' } as const;

export const ZFS_VOLUMES = defineResource<ZFSVolume>({
  ...{ ...zfs, kind: 'ZFSVolume', plural: 'zfsvolumes', namespaced: true },
});
export const ZFS_SNAPSHOTS = defineResource<ZFSSnapshot>({
  ...{ ...zfs, kind: 'ZFSSnapshot', plural: 'zfssnapshots', namespaced: true },
});

/** Velero's own, as far as a mover must know whether they still want its work. */
export interface VeleroOperation extends KubernetesObject {
  readonly status?: { readonly phase?: string };
}

export interface BackupStorageLocation extends KubernetesObject {
  readonly spec: {
    readonly provider?: string;
    readonly config?: Readonly<Record<string, string>>;
    readonly credential?: { readonly name?: string; readonly key?: string };
    readonly objectStorage?: {
      readonly bucket: string;
      readonly prefix?: string;
      /** In base64. */
      readonly caCert?: string;
    };
  };
}

const velero = { group: 'velero.io', version: 'v1' } as const;

export const VELERO_BACKUPS = defineResource<VeleroOperation>({
  ...{ ...velero, kind: 'Backup', plural: 'backups', namespaced: true },
});
export const VELERO_RESTORES = defineResource<VeleroOperation>({
  ...{ ...velero, kind: 'Restore', plural: 'restores', namespaced: true },
});
export const STORAGE_LOCATIONS = defineResource<BackupStorageLocation>({
  ...{ ...velero, kind: 'BackupStorageLocation', plural: 'backupstoragelocations', namespaced: true },
});

const movers = { group: 'velero.io', version: 'v2alpha1' } as const;

export const DATA_UPLOADS = defineResource<DataUpload>({
  ...{ ...movers, kind: 'DataUpload', plural: 'datauploads', namespaced: true },
});
export const DATA_DOWNLOADS = defineResource<DataDownload>({
  ...{ ...movers, kind: 'DataDownload', plural: 'datadownloads', namespaced: true },
});

export const DATA_PROTECTION_APPLICATIONS = defineResource<DataProtectionApplication>({
  ...{ group: 'oadp.openshift.io', version: 'v1alpha1', kind: 'DataProtectionApplication' },
  ...{ plural: 'dataprotectionapplications', namespaced: true },
});
