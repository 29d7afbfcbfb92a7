import type { DataMoverClass } from '../../api/data-mover-class.ts';
import type { DataProtectionApplication } from '../../api/neighbours/oadp.ts';
import type { VolumeSnapshot } from '../../api/neighbours/snapshot.ts';
import type { KubernetesObject, ObjectMeta } from '../../api/schema/kind.ts';
import type { SnapshotDeleteRequest } from '../../api/snapshot-delete-request.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';

/** Where the API server keeps objects of one type; `T` is for the compiler alone. */
export interface Resource<T> {
  /** Empty for core/v1. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly of?: T;
}

export interface ConfigMap {
  readonly metadata: ObjectMeta;
  readonly data?: Readonly<Record<string, string>>;
}

export interface CustomResourceDefinition {
  readonly metadata: ObjectMeta;
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime?: string;
    }[];
  };
}

export type PersistentVolumeClaim = KubernetesObject<Readonly<Record<string, unknown>>>;
export type VeleroBackupObject = KubernetesObject<{ readonly storageLocation?: string }>;

function resource<T>(group: string, version: string, plural: string, kind: string): Resource<T> {
  return { group, version, plural, kind };
}

const OADP_MOVER = 'datamover.oadp.openshift.io';

/** All that the actions look at or make. Names alone: api/'s schemas would cost every start of the plugin. */
export const RESOURCES = {
  configMap: resource<ConfigMap>('', 'v1', 'configmaps', 'ConfigMap'),
  claim: resource<PersistentVolumeClaim>('', 'v1', 'persistentvolumeclaims', 'PersistentVolumeClaim'),
  snapshot: resource<VolumeSnapshot>('snapshot.storage.k8s.io', 'v1', 'volumesnapshots', 'VolumeSnapshot'),
  veleroBackup: resource<VeleroBackupObject>('velero.io', 'v1', 'backups', 'Backup'),
  customResourceDefinition: resource<CustomResourceDefinition>(
    ...(['apiextensions.k8s.io', 'v1', 'customresourcedefinitions', 'CustomResourceDefinition'] as const),
  ),
  dataProtectionApplication: resource<DataProtectionApplication>(
    ...([
      'oadp.openshift.io',
      'v1alpha1',
      'dataprotectionapplications',
      'DataProtectionApplication',
    ] as const),
  ),
  dataMoverClass: resource<DataMoverClass>('datamover.io', 'v1alpha1', 'datamoverclasses', 'DataMoverClass'),
  snapshotDeleteRequest: resource<SnapshotDeleteRequest>(
    ...(['datamover.io', 'v1alpha1', 'snapshotdeleterequests', 'SnapshotDeleteRequest'] as const),
  ),
  volumeSnapshotBackup: resource<VolumeSnapshotBackup>(
    ...([OADP_MOVER, 'v1alpha1', 'volumesnapshotbackups', 'VolumeSnapshotBackup'] as const),
  ),
  volumeSnapshotRestore: resource<VolumeSnapshotRestore>(
    ...([OADP_MOVER, 'v1alpha1', 'volumesnapshotrestores', 'VolumeSnapshotRestore'] as const),
  ),
} as const;
