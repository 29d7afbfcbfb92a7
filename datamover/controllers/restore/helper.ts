import { REASONS } from '../../../api/names.ts';
import type { VolumeSnapshotRestore } from '../../../api/volume-snapshot-restore.ts';
import type { Draft, Stored } from '../../kubernetes/object.ts';
import { parseQuantity } from '../../kubernetes/quantity.ts';
import type {
  AccessMode,
  PersistentVolumeClaim,
  StorageClass,
  VolumeMode,
} from '../../kubernetes/storage-resources.ts';
import type { LiveAgent } from '../assignment.ts';
import { TransferFailure } from '../failure.ts';
import { storageOf } from '../resolve/csi-driver.ts';
import { namingOf, transferIdOfObject } from '../transfer-object.ts';
import { transferLabels } from '../transfer-secret.ts';
import type { Mapping } from './mapping.ts';

export type Restore = Stored<VolumeSnapshotRestore>;

/** The volume that a restore writes into, before it becomes anybody's. */
export interface HelperWish {
  readonly storageClass: string;
  readonly size: string;
  readonly accessModes: readonly AccessMode[];
  readonly volumeMode: VolumeMode;
  /** On storage that belongs to nodes: where to, if somebody says so. */
  readonly node?: string;
}

/** On a claim of a class that waits for its first consumer: the scheduler's choice, or ours where no pod will come. */
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';

/** The name of the helper claim and of the snapshot that is taken of it. */
export function helperName(object: Restore): string {
  return `datamover-restore-${transferIdOfObject(object)}`;
}

/** What the helper has to be like: as the claim that waits for it, else as the backup was, with the wishes of the object. */
export function wishFor(
  object: Restore,
  claim: Stored<PersistentVolumeClaim> | undefined,
  mapping: Mapping,
): HelperWish {
  const { spec } = object;
  const backup = spec.volumeSnapshotMoverBackupRef.sourcePVCData;
  const refuse = (cause: string, reason: TransferFailure['reason'], hint?: string): TransferFailure =>
    new TransferFailure({
      ...{ ...namingOf(object), cause, reason, retryable: false },
      ...(hint === undefined ? {} : { hint }),
    });
  const asked = claim?.spec.resources?.requests?.storage ?? spec.target?.size ?? backup.size;
  if (asked === undefined)
    throw refuse('the size is not known', REASONS.error, 'give target.size or sourcePVCData.size');
  if (backup.size !== undefined && parseQuantity(asked) < parseQuantity(backup.size))
    throw refuse(
      `${asked} is too small for a backup of ${backup.size}`,
      REASONS.targetTooSmall,
      'ask for at least that much',
    );
  const wished = spec.target?.storageClassName ?? backup.storageClassName;
  const storageClass =
    claim?.spec.storageClassName ??
    spec.target?.storageClassName ??
    (wished === undefined ? undefined : mapping.storageClass(wished));
  if (storageClass === undefined || storageClass === '')
    throw refuse('the storage class is not known', REASONS.driverUnknown, 'give target.storageClassName');
  const node = claim?.metadata.annotations?.[SELECTED_NODE] ?? spec.target?.node;
  return {
    ...{ storageClass, size: asked },
    accessModes: claim?.spec.accessModes ?? backup.accessModes ?? ['ReadWriteOnce'],
    volumeMode: claim?.spec.volumeMode ?? backup.volumeMode ?? 'Filesystem',
    ...(node === undefined ? {} : { node: mapping.node(node) }),
  };
}

/** K-34: whether the claim waits for a volume, and for this restore's. */
export function checkTarget(object: Restore, claim: Stored<PersistentVolumeClaim>, restoredBy: string): void {
  const filledBy = claim.metadata.annotations?.[restoredBy];
  if (filledBy === object.metadata.uid) return;
  const cause =
    filledBy !== undefined
      ? 'another restore has filled the claim'
      : (claim.spec.volumeName ?? '') !== ''
        ? `the claim has a volume already: ${claim.spec.volumeName ?? ''}`
        : undefined;
  if (cause === undefined) return;
  throw new TransferFailure({
    ...{ ...namingOf(object), cause, reason: REASONS.targetInUse },
    hint: 'restore into a claim that has no volume yet',
  });
}

/** Which storage stands behind a class. */
export function driverOf(object: Restore, name: string, found: StorageClass | undefined): 'zfs' | 'rbd' {
  const driver = found === undefined ? undefined : storageOf(found.provisioner);
  if (driver !== undefined) return driver;
  throw new TransferFailure({
    ...{ ...namingOf(object), reason: REASONS.driverUnknown },
    cause:
      found === undefined
        ? `there is no storage class ${name}`
        : `storage class ${name} is ${found.provisioner}'s, whose volumes cannot be written`,
    hint: 'give target.storageClassName, or map it (--mapping)',
  });
}

/** The helper claim. Who waits for its first consumer gets a node named, for no pod will ever use it. */
export function helperClaim(
  object: Restore,
  wish: HelperWish,
  storageClass: StorageClass,
  agents: readonly LiveAgent[],
  driver: 'zfs' | 'rbd',
): Draft<PersistentVolumeClaim> | undefined {
  const { apiVersion, kind, metadata } = object;
  const late = storageClass.volumeBindingMode === 'WaitForFirstConsumer';
  const node = wish.node ?? nodeFor(agents, driver);
  // Without an agent there is nobody to write into it either.
  if (late && node === undefined) return undefined;
  return {
    metadata: {
      ...{ name: helperName(object), namespace: metadata.namespace ?? '', labels: transferLabels(object) },
      ownerReferences: [{ apiVersion, kind, name: metadata.name, uid: metadata.uid }],
      ...(late && node !== undefined ? { annotations: { [SELECTED_NODE]: node } } : {}),
    },
    spec: {
      ...{ storageClassName: wish.storageClass, accessModes: wish.accessModes, volumeMode: wish.volumeMode },
      resources: { requests: { storage: wish.size } },
    },
  };
}

function nodeFor(agents: readonly LiveAgent[], driver: string): string | undefined {
  return agents
    .filter(({ drivers }) => drivers.includes(driver))
    .map(({ node }) => node)
    .sort()
    .at(0);
}
