import { labelValue } from '../../api/derived-names.ts';
import { VELERO } from '../../api/neighbours/velero.ts';
import { isApiError, orMissing } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { VELERO_BACKUPS, VELERO_RESTORES } from '../kubernetes/neighbour-resources.ts';
import { isBackup, type TransferObject } from './transfer-object.ts';

/** Phases of Velero's Backup and Restore in which nobody waits for a volume any more. */
const GIVEN_UP = ['Failed', 'PartiallyFailed', 'FailedValidation', 'Deleting'];
/** A label this long may be a shortened name. */
const LONGEST_LABEL = 63;

/**
 * Why nobody wants the transfer any more: Velero's Backup or Restore, which its labels name, has failed or is gone. Gone counts only
 * with the label of its UID, which Velero's plugin sets and a person would not.
 */
export async function orphanedBecause(client: Client, object: TransferObject): Promise<string | undefined> {
  const { labels = {} } = object.metadata;
  const [nameLabel, uidLabel, kind] = isBackup(object)
    ? ([VELERO.backupName, VELERO.backupUid, VELERO_BACKUPS] as const)
    : ([VELERO.restoreName, VELERO.restoreUid, VELERO_RESTORES] as const);
  const name = labels[nameLabel];
  const uid = labels[uidLabel];
  if (name === undefined || name === '') return undefined;
  const namespace = object.spec.protectedNamespace;
  const subject = `${kind.kind} ${namespace}/${name}`;
  const owners = client.of(kind);
  try {
    const owner =
      name.length < LONGEST_LABEL
        ? await orMissing(owners.get(namespace, name))
        : (await owners.list({ namespace })).items.find(({ metadata }) => labelValue(metadata.name) === name);
    if (uid !== undefined && owner?.metadata.uid !== uid) return `${subject} is gone`;
    const phase = owner?.status?.phase ?? '';
    return GIVEN_UP.includes(phase) ? `${subject} is ${phase}` : undefined;
  } catch (error) {
    // Without Velero, or without the right to look, its objects are nobody's business.
    if (isApiError(error, 'missing', 'forbidden')) return undefined;
    throw error;
  }
}
