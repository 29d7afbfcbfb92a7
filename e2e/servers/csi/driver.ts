import type { status } from '@grpc/grpc-js';

type Texts = Readonly<Record<string, string>>;

/** What csi-provisioner asks for. */
export interface VolumeRequest {
  /** `pvc-UID`. */
  readonly name: string;
  readonly bytes: number;
  readonly block: boolean;
  readonly fsType: string;
  readonly parameters: Texts;
  readonly secrets: Texts;
  /** A snapshot's handle, where the volume begins as a copy of one. */
  readonly snapshot?: string;
  /** Where it may be, best first: labels of nodes. */
  readonly topologies: readonly Texts[];
}

export interface MadeVolume {
  readonly handle: string;
  readonly bytes: number;
  /** Becomes the volume attributes of the PersistentVolume. */
  readonly context: Texts;
  /** The nodes that reach it; all without it. */
  readonly topology?: Texts;
}

export interface SnapshotRequest {
  /** `snapshot-UID`. */
  readonly name: string;
  readonly volume: string;
  readonly parameters: Texts;
  readonly secrets: Texts;
}

export interface MadeSnapshot {
  readonly handle: string;
  readonly volume: string;
  readonly bytes: number;
  readonly created: Date;
  readonly ready: boolean;
}

/** The controller side of a storage driver, as the sidecars see it. Every method may be called again with the same request. */
export interface CsiDriver {
  /** As in `provisioner:` of a StorageClass. */
  readonly name: string;
  /** Its volumes can be reached from some nodes alone. */
  readonly topology: boolean;
  createVolume(request: VolumeRequest): Promise<MadeVolume>;
  deleteVolume(handle: string, secrets: Texts): Promise<void>;
  createSnapshot(request: SnapshotRequest): Promise<MadeSnapshot>;
  deleteSnapshot(handle: string, secrets: Texts): Promise<void>;
  /** Looks a handle up that came from outside; a driver without it takes every handle for good. */
  readonly findSnapshot?: (handle: string, secrets: Texts) => Promise<MadeSnapshot | undefined>;
}

/** A refusal with one of gRPC's statuses, which tell the sidecars whether to try again. */
export class CsiFailure extends Error {
  override readonly name = 'CsiFailure';
  readonly code: status;

  constructor(code: status, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
