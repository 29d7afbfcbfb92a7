/**
 * CSI snapshots (`snapshot.storage.k8s.io/v1`), as far as they are read and made here.
 * https://github.com/kubernetes-csi/external-snapshotter/blob/master/client/apis/volumesnapshot/v1/types.go
 */
import type { KubernetesObject, ObjectMeta } from '../schema/kind.ts';

export const SNAPSHOT_VERSION = 'snapshot.storage.k8s.io/v1';

interface SnapshotError {
  readonly time?: string;
  readonly message?: string;
}

export type VolumeSnapshot = KubernetesObject<
  {
    /** Exactly one of them; it cannot be changed. */
    readonly source: {
      readonly persistentVolumeClaimName?: string;
      readonly volumeSnapshotContentName?: string;
    };
    readonly volumeSnapshotClassName?: string;
  },
  {
    readonly boundVolumeSnapshotContentName?: string;
    readonly creationTime?: string;
    readonly readyToUse?: boolean;
    /** A quantity. */
    readonly restoreSize?: string;
    readonly error?: SnapshotError;
  }
>;

export type VolumeSnapshotContent = KubernetesObject<
  {
    /** `uid` is set when it is bound. */
    readonly volumeSnapshotRef: {
      readonly name?: string;
      readonly namespace?: string;
      readonly uid?: string;
    };
    readonly deletionPolicy: 'Delete' | 'Retain';
    readonly driver: string;
    readonly volumeSnapshotClassName?: string;
    /** Exactly one of them; it cannot be changed. */
    readonly source: { readonly volumeHandle?: string; readonly snapshotHandle?: string };
    /** Cannot be changed once it is set. */
    readonly sourceVolumeMode?: 'Filesystem' | 'Block';
  },
  {
    readonly snapshotHandle?: string;
    /** Nanoseconds since 1970. */
    readonly creationTime?: number;
    /** Bytes. */
    readonly restoreSize?: number;
    readonly readyToUse?: boolean;
    readonly error?: SnapshotError;
  }
>;

/** Its fields stand beside `metadata`: it has no spec. */
export interface VolumeSnapshotClass {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly driver: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly deletionPolicy: 'Delete' | 'Retain';
}

export const SNAPSHOT = {
  isDefaultClass: 'snapshot.storage.kubernetes.io/is-default-class',
  /** On a VolumeSnapshotContent made by hand with policy Delete, for drivers that need a secret to delete. */
  deletionSecretName: 'snapshot.storage.kubernetes.io/deletion-secret-name',
  deletionSecretNamespace: 'snapshot.storage.kubernetes.io/deletion-secret-namespace',
} as const;
