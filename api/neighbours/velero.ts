/**
 * Velero's DataUpload and DataDownload (`velero.io/v2alpha1`), as far as a data mover of another vendor reads and writes them.
 * Neither has a status subresource: the status is patched on the object itself. Fields of v1.18; those marked 1.19 may be absent.
 * https://github.com/velero-io/velero/blob/main/pkg/apis/velero/v2alpha1/
 */
import type { KubernetesObject } from '../schema/kind.ts';

export const VELERO_MOVER_VERSION = 'velero.io/v2alpha1';

/** Absent or empty is `New`. Only the last three are decisive to Velero. */
export type DataMovePhase =
  'New' | 'Accepted' | 'Prepared' | 'InProgress' | 'Canceling' | 'Canceled' | 'Failed' | 'Completed';

export interface DataUploadSpec {
  readonly snapshotType: 'CSI';
  readonly csiSnapshot?: {
    /** In `sourceNamespace`. */
    readonly volumeSnapshot: string;
    readonly storageClass: string;
    /** May be empty. */
    readonly snapshotClass: string;
    readonly driver?: string;
  };
  /** Name of the claim, in `sourceNamespace`. */
  readonly sourcePVC: string;
  /** Who moves it: only `datamover.io` is ours. */
  readonly datamover?: string;
  readonly backupStorageLocation: string;
  readonly sourceNamespace: string;
  readonly dataMoverConfig?: Readonly<Record<string, string>> | null;
  readonly cancel?: boolean;
  /** For waits within the mover, as Go prints durations. */
  readonly operationTimeout: string;
  /** 1.19: `auto`, `none` or an id. */
  readonly parentSnapshot?: string;
  /** 1.19 */
  readonly sourceFSType?: string;
}

interface DataMoveStatus {
  readonly phase?: DataMovePhase | '';
  /** Must not be empty when the phase is Failed: Velero would count a success. */
  readonly message?: string;
  readonly startTimestamp?: string | null;
  readonly completionTimestamp?: string | null;
  readonly progress?: { readonly totalBytes?: number; readonly bytesDone?: number };
  readonly node?: string;
  readonly acceptedByNode?: string;
  readonly acceptedTimestamp?: string | null;
}

export interface DataUploadStatus extends DataMoveStatus {
  readonly path?: string;
  /** All that a restore in any cluster needs: Velero hands on nothing else. */
  readonly snapshotID?: string;
  readonly dataMoverResult?: Readonly<Record<string, string>> | null;
  readonly nodeOS?: 'auto' | 'linux' | 'windows';
  readonly incrementalBytes?: number;
}

export interface DataDownloadSpec {
  readonly targetVolume: {
    /** A claim that waits, or that does not exist yet. */
    readonly pvc: string;
    readonly pv: string;
    readonly namespace: string;
    /** 1.19 */
    readonly fsType?: string;
  };
  readonly backupStorageLocation: string;
  readonly datamover?: string;
  /** Empty where the DataUpload had failed. */
  readonly snapshotID: string;
  readonly sourceNamespace: string;
  readonly dataMoverConfig?: Readonly<Record<string, string>> | null;
  readonly cancel?: boolean;
  readonly operationTimeout: string;
  readonly nodeOS?: 'auto' | 'linux' | 'windows';
  readonly snapshotSize?: number;
}

export type DataUpload = KubernetesObject<DataUploadSpec, DataUploadStatus>;
export type DataDownload = KubernetesObject<DataDownloadSpec, DataMoveStatus>;

/** Labels and annotations of Velero's that the mover and the plugin read or write. */
export const VELERO = {
  backupName: 'velero.io/backup-name',
  backupUid: 'velero.io/backup-uid',
  restoreName: 'velero.io/restore-name',
  restoreUid: 'velero.io/restore-uid',
  claimUid: 'velero.io/pvc-uid',
  claimName: 'velero.io/persistent-volume-claim-name',
  asyncOperationId: 'velero.io/async-operation-id',
  /** On the PersistentVolume that a DataDownload's claim is bound to; the claim selects it. */
  dynamicRestore: 'velero.io/dynamic-pv-restore',
  csiDriverName: 'velero.io/csi-driver-name',
  csiSnapshotHandle: 'velero.io/csi-volumesnapshot-handle',
  csiDeletionPolicy: 'velero.io/csi-vsc-deletion-policy',
  /** Where it is `true` no backup takes the object along. */
  excluded: 'velero.io/exclude-from-backup',
  dataUploadName: 'velero.io/data-upload-name',
} as const;
