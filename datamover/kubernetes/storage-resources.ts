import type { KubernetesObject } from './object.ts';
import { defineResource } from './resource.ts';

/** Claims, volumes, classes and nodes: the fields that somebody reads or writes here. */

export type AccessMode = 'ReadWriteOnce' | 'ReadOnlyMany' | 'ReadWriteMany' | 'ReadWriteOncePod';
export type VolumeMode = 'Filesystem' | 'Block';

export interface PersistentVolumeClaim extends KubernetesObject {
  readonly spec: {
    readonly accessModes?: readonly AccessMode[];
    readonly storageClassName?: string;
    readonly volumeMode?: VolumeMode;
    readonly volumeName?: string;
    readonly resources?: { readonly requests?: { readonly storage?: string } };
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly dataSource?: { readonly apiGroup?: string; readonly kind: string; readonly name: string };
  };
  readonly status?: {
    readonly phase?: 'Pending' | 'Bound' | 'Lost';
    readonly capacity?: { readonly storage?: string };
  };
}

export interface PersistentVolume extends KubernetesObject {
  readonly spec: {
    readonly capacity?: { readonly storage?: string };
    readonly claimRef?: {
      readonly apiVersion?: string;
      readonly kind?: string;
      readonly namespace?: string;
      readonly name?: string;
      readonly uid?: string;
      readonly resourceVersion?: string;
    };
    readonly persistentVolumeReclaimPolicy?: 'Delete' | 'Retain' | 'Recycle';
    readonly storageClassName?: string;
    readonly csi?: {
      readonly driver: string;
      readonly volumeHandle: string;
      readonly volumeAttributes?: Readonly<Record<string, string>>;
    };
  };
  readonly status?: { readonly phase?: 'Pending' | 'Available' | 'Bound' | 'Released' | 'Failed' };
}

/** Its fields stand beside `metadata`. */
export interface StorageClass extends KubernetesObject {
  readonly provisioner: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly volumeBindingMode?: 'Immediate' | 'WaitForFirstConsumer';
  readonly reclaimPolicy?: 'Delete' | 'Retain';
}

export type Node = KubernetesObject;

const core = { group: '', version: 'v1' } as const;

export const CLAIMS = defineResource<PersistentVolumeClaim>({
  ...{ ...core, kind: 'PersistentVolumeClaim', plural: 'persistentvolumeclaims', namespaced: true },
});

export const VOLUMES = defineResource<PersistentVolume>({
  ...{ ...core, kind: 'PersistentVolume', plural: 'persistentvolumes', namespaced: false },
});

export const NODES = defineResource<Node>({
  ...{ ...core, kind: 'Node', plural: 'nodes', namespaced: false },
});

export const STORAGE_CLASSES = defineResource<StorageClass>({
  ...{ group: 'storage.k8s.io', version: 'v1', kind: 'StorageClass', plural: 'storageclasses' },
  namespaced: false,
});
