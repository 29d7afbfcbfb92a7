/**
 * The data mover's part of OADP 1.1 and 1.2's DataProtectionApplication (`oadp.openshift.io/v1alpha1`). From 1.3 on the operator refuses
 * objects that set it, so nothing is asked to; who still has it keeps their words.
 * https://github.com/openshift/oadp-operator/blob/oadp-1.2/api/v1alpha1/oadp_types.go
 */
import type { KubernetesObject } from '../schema/kind.ts';

export interface OadpDataMover {
  readonly enable?: boolean;
  /** The secret that holds RESTIC_PASSWORD; `dm-credential` where it is left out. */
  readonly credentialName?: string;
  /** As Go prints durations; `10m` where it is left out. */
  readonly timeout?: string;
  /** Numbers as text; `10` where they are left out. */
  readonly maxConcurrentBackupVolumes?: string;
  readonly maxConcurrentRestoreVolumes?: string;
  /** Days, as text. */
  readonly pruneInterval?: string;
  readonly schedule?: string;
  readonly snapshotRetainPolicy?: {
    readonly hourly?: string;
    readonly daily?: string;
    readonly weekly?: string;
    readonly monthly?: string;
    readonly yearly?: string;
    readonly within?: string;
  };
  /** By the name of the storage class. */
  readonly volumeOptionsForStorageClasses?: Readonly<
    Record<
      string,
      {
        readonly sourceVolumeOptions?: OadpVolumeOptions;
        readonly destinationVolumeOptions?: OadpVolumeOptions;
      }
    >
  >;
}

export interface OadpVolumeOptions {
  readonly storageClassName?: string;
  readonly accessMode?: string;
}

export type DataProtectionApplication = KubernetesObject<{
  readonly features?: { readonly dataMover?: OadpDataMover };
}>;
