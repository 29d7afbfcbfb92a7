import { volumeSnapshotBackup, type VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { volumeSnapshotRestore, type VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import { CONDITIONS, LABELS } from '../../api/names.ts';
import { FINAL_PHASES } from '../../api/transfer.ts';
import { labelValue, transferIdOf } from '../../api/derived-names.ts';
import { orMissing } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { findCondition } from '../kubernetes/conditions.ts';
import type { Stored } from '../kubernetes/object.ts';
import { resourceOf } from '../kubernetes/resource.ts';
import type { Operation } from '../http/metrics.ts';
import type { TransferView } from './decide.ts';

export type Backup = Stored<VolumeSnapshotBackup>;
export type Restore = Stored<VolumeSnapshotRestore>;

/** The object of a backup or of a restore. */
export type Transfer =
  | { readonly operation: 'backup'; readonly object: Backup }
  | { readonly operation: 'restore'; readonly object: Restore };

export const BACKUPS = resourceOf(volumeSnapshotBackup);
export const RESTORES = resourceOf(volumeSnapshotRestore);

/** A work queue's key: `backup/NAMESPACE/NAME`. */
export interface TransferKey {
  readonly operation: Operation;
  readonly namespace: string;
  readonly name: string;
}

export function formatKey({ operation, namespace, name }: TransferKey): string {
  return `${operation}/${namespace}/${name}`;
}

export function parseKey(key: string): TransferKey {
  const [operation, namespace = '', name = ''] = key.split('/');
  return { operation: operation === 'restore' ? 'restore' : 'backup', namespace, name };
}

/** As the server has it now. */
export async function readTransfer(
  client: Client,
  { operation, namespace, name }: TransferKey,
  signal?: AbortSignal,
): Promise<Transfer | undefined> {
  if (operation === 'backup') {
    const object = await orMissing(client.of(BACKUPS).get(namespace, name, { signal }));
    return object && { operation, object };
  }
  const object = await orMissing(client.of(RESTORES).get(namespace, name, { signal }));
  return object && { operation, object };
}

/** Computed and not read: the status is the cluster's word, and this becomes a path and the name of a secret. */
export function transferID({ operation, object }: Transfer): string {
  const kind = operation === 'backup' ? 'VolumeSnapshotBackup' : 'VolumeSnapshotRestore';
  return transferIdOf(kind, object.metadata.uid);
}

/** The volume, as the repository and people name it: `NAMESPACE/CLAIM`. */
export function volumeOf(transfer: Transfer): string | undefined {
  const [namespace, claim] =
    transfer.operation === 'backup'
      ? [transfer.object.metadata.namespace, transfer.object.status?.sourcePVCData?.name]
      : [
          transfer.object.spec.volumeSnapshotMoverBackupRef.sourceNamespace ??
            transfer.object.metadata.namespace,
          transfer.object.spec.volumeSnapshotMoverBackupRef.sourcePVCData.name,
        ];
  return namespace === undefined || claim === undefined ? undefined : `${namespace}/${claim}`;
}

/** What is made for a transfer carries these. */
export function labelsOf(transfer: Transfer): Readonly<Record<string, string>> {
  const of = transfer.operation === 'backup' ? LABELS.backup : LABELS.restore;
  return { [LABELS.transfer]: transferID(transfer), [of]: labelValue(transfer.object.metadata.name) };
}

/** What `decide` looks at. */
export function viewOf({ object }: Transfer): TransferView {
  const { metadata, spec, status } = object;
  const phase = status?.phase;
  const transferred = findCondition(status?.conditions, CONDITIONS.transferred)?.status;
  return {
    uid: metadata.uid,
    cancelled: spec.cancel === true || metadata.deletionTimestamp !== undefined,
    processing: status?.batchingStatus === 'Processing',
    final: FINAL_PHASES.some((known) => known === phase),
    attemptEnded: transferred === 'True' || transferred === 'False',
    ...(status?.node !== undefined && { node: status.node }),
    ...(status?.storage !== undefined && { driver: status.storage.driver }),
    ...(status?.claimedBy !== undefined && status.claimedBy !== '' && { claimedBy: status.claimedBy }),
  };
}
