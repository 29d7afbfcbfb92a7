import { deterministicName, labelValue } from '../../api/derived-names.ts';
import { LABELS } from '../../api/names.ts';
import { VELERO } from '../../api/neighbours/velero.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import type { VeleroRestore } from '../actions/contract.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES } from '../kubernetes/resources.ts';
import { secretOf } from './backup.ts';
import type { Site } from './cluster.ts';
import type { RestoreFacts } from './restore-facts.ts';
import { mappedNamespace, uidOf } from './velero-marks.ts';

/** What a restore takes its data from. */
export interface Moved {
  /** Of the VolumeSnapshotBackup, in the cluster that was backed up. */
  readonly namespace: string;
  readonly name: string;
  readonly facts: RestoreFacts;
}

/** A name that follows from restore and backup: whichever action comes second finds the object of the first. */
export function snapshotRestoreName(restore: VeleroRestore, { namespace, name }: Moved): string {
  return deterministicName('vsr', uidOf(restore), `${namespace}/${name}`);
}

/**
 * Makes the VolumeSnapshotRestore that fills the claim. It is made before the claim is there, which Velero creates only after its
 * actions: the controller waits for it.
 */
export async function startRestore(
  moved: Moved,
  restore: VeleroRestore,
  { client, settings }: Site,
): Promise<VolumeSnapshotRestore> {
  const backupName = restore.spec.backupName ?? '';
  const veleroNamespace = restore.metadata.namespace ?? '';
  const { backup, claimName, backupTarget } = moved.facts;
  // A backup that was synced from another cluster has here the storage location's name of here.
  const location =
    backupTarget === undefined && settings.resticSecret === undefined
      ? await locationOf(client, veleroNamespace, backupName)
      : '';
  return client.create(RESOURCES.volumeSnapshotRestore, {
    metadata: {
      namespace: mappedNamespace(restore, moved.namespace),
      name: snapshotRestoreName(restore, moved),
      labels: {
        [VELERO.restoreName]: labelValue(restore.metadata.name),
        [VELERO.restoreUid]: labelValue(uidOf(restore)),
        [VELERO.backupName]: labelValue(backupName),
        [VELERO.claimName]: labelValue(claimName),
        [LABELS.restoredFrom]: labelValue(moved.name),
      },
    },
    spec: {
      volumeSnapshotMoverBackupRef: backup,
      protectedNamespace: veleroNamespace,
      // What went to a secret's repository is not in the target that new backups go to.
      ...(backupTarget === undefined
        ? { resticSecretRef: { name: secretOf(settings, location) } }
        : { backupTarget }),
      target: { claimName },
    },
  });
}

async function locationOf(client: KubernetesClient, namespace: string, backup: string): Promise<string> {
  const found = await client.get(RESOURCES.veleroBackup, namespace, backup);
  if (found === undefined)
    throw new Error(`find the repository: there is no Backup ${namespace}/${backup} in this cluster`);
  return found.spec.storageLocation ?? '';
}

/** Whether a claim of this name is there that this restore did not make: Velero leaves it alone, and so do we. */
export async function isTaken(
  client: KubernetesClient,
  restore: VeleroRestore,
  namespace: string,
  claim: string,
): Promise<boolean> {
  const found = await client.get(RESOURCES.claim, namespace, claim);
  return (
    found !== undefined && found.metadata.labels?.[VELERO.restoreName] !== labelValue(restore.metadata.name)
  );
}
