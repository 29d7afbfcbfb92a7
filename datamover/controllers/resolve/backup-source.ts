import { REASONS } from '../../../api/names.ts';
import type { VolumeSnapshot, VolumeSnapshotContent } from '../../../api/neighbours/snapshot.ts';
import type { TransferStorage } from '../../../api/transfer.ts';
import type { VolumeSnapshotBackup } from '../../../api/volume-snapshot-backup.ts';
import { orMissing } from '../../kubernetes/api-error.ts';
import { SNAPSHOT_CLASSES, SNAPSHOT_CONTENTS, SNAPSHOTS } from '../../kubernetes/neighbour-resources.ts';
import type { Stored } from '../../kubernetes/object.ts';
import { parseQuantity } from '../../kubernetes/quantity.ts';
import { CLAIMS, STORAGE_CLASSES, type PersistentVolumeClaim } from '../../kubernetes/storage-resources.ts';
import { TransferFailure } from '../failure.ts';
import { secretOfParameters, type SecretName } from './ceph-secret.ts';
import { storageOf } from './csi-driver.ts';
import { findRbd, findZfsSnapshot, type Site } from './storage.ts';

/** All that a VolumeSnapshotBackup leads to in the cluster. */
export interface BackupSource {
  readonly storage: TransferStorage;
  readonly node?: string;
  readonly claim: NonNullable<NonNullable<VolumeSnapshotBackup['status']>['sourcePVCData']> & {
    readonly name: string;
  };
  readonly snapshotClass?: string;
  /** What opens the Ceph cluster that holds it. */
  readonly cephSecret?: SecretName;
}

/** Follows a VolumeSnapshotBackup to its snapshot on the storage. Throws a TransferFailure that says what stands in the way. */
export async function findBackupSource(
  site: Site,
  object: Stored<VolumeSnapshotBackup>,
  signal: AbortSignal,
): Promise<BackupSource> {
  const name = object.spec.volumeSnapshotContent.name;
  const content = await orMissing(site.client.of(SNAPSHOT_CONTENTS).get(undefined, name));
  const { driver, handle } = checkContent(content, name, object.metadata.namespace ?? '');
  const { snapshot, claim } = await claimOfContent(site, content);
  const snapshotClass = content?.spec.volumeSnapshotClassName;
  const requested = claim?.status?.capacity?.storage ?? claim?.spec.resources?.requests?.storage;
  const bytes = content?.status?.restoreSize ?? (requested === undefined ? 0 : parseQuantity(requested));
  const { storageClassName, volumeMode, accessModes } = claim?.spec ?? {};
  const size = requested ?? snapshot?.status?.restoreSize ?? String(bytes);
  const known = {
    claim: {
      name: snapshot?.spec.source.persistentVolumeClaimName ?? snapshot?.metadata.name ?? name,
      size,
      ...(storageClassName === undefined ? {} : { storageClassName }),
      ...(volumeMode === undefined ? {} : { volumeMode }),
      ...(accessModes === undefined ? {} : { accessModes }),
    },
    ...(snapshotClass === undefined ? {} : { snapshotClass }),
  };
  const sized = bytes === 0 ? {} : { bytes };
  if (driver === 'zfs') {
    const { storage, node } = await findZfsSnapshot(site, handle);
    return { ...known, storage: { ...storage, ...sized }, ...(node === undefined ? {} : { node }) };
  }
  const cephSecret = await secretOf(site, snapshotClass, storageClassName);
  const { storage } = await findRbd(site, 'snapshot', handle, cephSecret, signal);
  return { ...known, storage: { ...storage, ...sized }, cephSecret };
}

/** K-01, and whether the snapshot is there to be read. */
export function checkContent(
  content: VolumeSnapshotContent | undefined,
  name: string,
  namespace: string,
): { readonly driver: 'zfs' | 'rbd'; readonly handle: string } {
  const refuse = (cause: string, reason: TransferFailure['reason'], hint?: string): TransferFailure =>
    new TransferFailure({
      ...{ operation: 'use VolumeSnapshotContent', subject: name, cause, reason },
      ...(hint === undefined ? {} : { hint }),
    });
  if (content === undefined) throw refuse('it does not exist', REASONS.snapshotMissing);
  const { spec, status } = content;
  if (spec.volumeSnapshotRef.namespace !== namespace)
    throw refuse(`its VolumeSnapshot is not in namespace ${namespace}`, REASONS.notAllowed);
  const driver = storageOf(spec.driver);
  if (driver === undefined)
    throw refuse(
      `volumes of the driver ${spec.driver} cannot be moved`,
      REASONS.driverUnknown,
      'OpenEBS ZFS and Ceph RBD can',
    );
  const handle = status?.snapshotHandle ?? spec.source.snapshotHandle;
  if (status?.readyToUse !== true || handle === undefined) {
    const said = status?.error?.message;
    throw refuse(
      said === undefined ? 'the snapshot is not ready' : `the snapshot is not ready: ${said}`,
      REASONS.snapshotNotReady,
    );
  }
  return { driver, handle };
}

/** The claim that the snapshot is of; either may be gone already. */
async function claimOfContent(
  { client }: Site,
  content: VolumeSnapshotContent | undefined,
): Promise<{ readonly snapshot?: VolumeSnapshot; readonly claim?: PersistentVolumeClaim }> {
  const { namespace, name } = content?.spec.volumeSnapshotRef ?? {};
  if (namespace === undefined || name === undefined) return {};
  const snapshot = await orMissing(client.of(SNAPSHOTS).get(namespace, name));
  const claimName = snapshot?.spec.source.persistentVolumeClaimName;
  if (snapshot === undefined || claimName === undefined) return snapshot === undefined ? {} : { snapshot };
  const claim = await orMissing(client.of(CLAIMS).get(namespace, claimName));
  return { snapshot, ...(claim === undefined ? {} : { claim }) };
}

/** The claim of a VolumeSnapshotBackup as far as it is there, for the choice of its class. */
export async function claimOfBackup(
  site: Site,
  object: Stored<VolumeSnapshotBackup>,
): Promise<PersistentVolumeClaim | undefined> {
  const name = object.spec.volumeSnapshotContent.name;
  const content = await orMissing(site.client.of(SNAPSHOT_CONTENTS).get(undefined, name));
  if (content?.spec.volumeSnapshotRef.namespace !== object.metadata.namespace) return undefined;
  return (await claimOfContent(site, content)).claim;
}

/** ceph-csi's secret: of the class of the snapshot, else of the class of the claim. */
async function secretOf(
  { client }: Site,
  snapshotClass: string | undefined,
  storageClass: string | undefined,
): Promise<SecretName> {
  if (snapshotClass !== undefined) {
    const found = await orMissing(client.of(SNAPSHOT_CLASSES).get(undefined, snapshotClass));
    const secret = secretOfParameters(found?.parameters ?? {}, 'snapshotter');
    if (secret !== undefined) return secret;
  }
  if (storageClass !== undefined) {
    const found = await orMissing(client.of(STORAGE_CLASSES).get(undefined, storageClass));
    const secret = secretOfParameters(found?.parameters ?? {}, 'provisioner');
    if (secret !== undefined) return secret;
  }
  throw new TransferFailure({
    operation: 'find the secret of Ceph',
    cause: 'neither the class of the snapshot nor that of the claim names one',
    hint: 'set csi.storage.k8s.io/snapshotter-secret-name and -namespace in the VolumeSnapshotClass',
    reason: REASONS.secretMissing,
  });
}
