import { REASONS } from '../../../api/names.ts';
import { SNAPSHOT, type VolumeSnapshotClass } from '../../../api/neighbours/snapshot.ts';
import { isApiError, orMissing } from '../../kubernetes/api-error.ts';
import { SNAPSHOT_CLASSES, SNAPSHOT_CONTENTS, SNAPSHOTS } from '../../kubernetes/neighbour-resources.ts';
import { CLAIMS, STORAGE_CLASSES } from '../../kubernetes/storage-resources.ts';
import { TransferFailure } from '../failure.ts';
import type { Waiting } from '../flow.ts';
import type { Site } from '../resolve/storage.ts';
import { namingOf, type StatusChange } from '../transfer-object.ts';
import { transferLabels } from '../transfer-secret.ts';
import { helperName, type Restore } from './helper.ts';

const WAIT_MS = 1_000;

/** The class with which a volume of this driver is snapshotted: the backup's if it is here, else the default one, else the first by name. */
export function chooseSnapshotClass(
  classes: readonly VolumeSnapshotClass[],
  driver: string,
  wished: string | undefined,
): string | undefined {
  const fitting = classes
    .filter((one) => one.driver === driver)
    .toSorted((a, b) => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1));
  const isDefault = ({ metadata }: VolumeSnapshotClass): boolean =>
    metadata.annotations?.[SNAPSHOT.isDefaultClass] === 'true';
  const chosen =
    fitting.find(({ metadata }) => metadata.name === wished) ?? fitting.find(isDefault) ?? fitting[0];
  return chosen?.metadata.name;
}

/**
 * OADP's way: a CSI snapshot of the helper volume, whose content is kept when snapshot and helper go. Its handle is what the claim
 * is restored from.
 */
export async function snapshotHelper(site: Site, object: Restore): Promise<StatusChange | Waiting> {
  const { client } = site;
  const { namespace = '' } = object.metadata;
  const name = helperName(object);
  const snapshot = await orMissing(client.of(SNAPSHOTS).get(namespace, name));
  if (snapshot === undefined) {
    const volumeSnapshotClassName = await classFor(site, object);
    const { apiVersion, kind, metadata } = object;
    const owner = { apiVersion, kind, name: metadata.name, uid: metadata.uid };
    await client
      .of(SNAPSHOTS)
      .create({
        metadata: { namespace, name, labels: transferLabels(object), ownerReferences: [owner] },
        spec: { source: { persistentVolumeClaimName: name }, volumeSnapshotClassName },
      })
      .catch((error: unknown) => {
        if (!isApiError(error, 'exists')) throw error;
      });
    return { waitMs: WAIT_MS, because: 'a snapshot of the restored volume is being taken' };
  }
  const contentName = snapshot.status?.boundVolumeSnapshotContentName;
  const content =
    contentName === undefined
      ? undefined
      : await orMissing(client.of(SNAPSHOT_CONTENTS).get(undefined, contentName));
  const handle = content?.status?.snapshotHandle;
  if (content === undefined || handle === undefined || content.status?.readyToUse !== true) {
    const said = snapshot.status?.error?.message;
    const because = 'it waits for the snapshot of the restored volume';
    return { waitMs: WAIT_MS, because: said === undefined ? because : `${because}: ${said}` };
  }
  if (content.spec.deletionPolicy !== 'Retain') {
    await client
      .of(SNAPSHOT_CONTENTS)
      .patch(undefined, content.metadata.name, { spec: { deletionPolicy: 'Retain' } });
  }
  return { snapshotHandle: handle, volumeSnapshotContentName: content.metadata.name };
}

async function classFor({ client }: Site, object: Restore): Promise<string> {
  const helper = await client.of(CLAIMS).get(object.metadata.namespace, helperName(object));
  const className = helper.spec.storageClassName ?? '';
  const { provisioner } = await client.of(STORAGE_CLASSES).get(undefined, className);
  const { items } = await client.of(SNAPSHOT_CLASSES).list();
  const wished = object.spec.volumeSnapshotMoverBackupRef.volumeSnapshotClassName;
  const chosen = chooseSnapshotClass(items, provisioner, wished);
  if (chosen !== undefined) return chosen;
  throw new TransferFailure({
    ...{ ...namingOf(object), reason: REASONS.driverUnknown },
    cause: `there is no VolumeSnapshotClass for the driver ${provisioner}`,
    hint: 'make one, or name a claim that waits for the volume in target.claimName',
  });
}
