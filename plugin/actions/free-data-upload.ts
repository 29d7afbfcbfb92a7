import { secretHere } from '../../api/derived-names.ts';
import { MOVER } from '../../api/names.ts';
import type { DataUpload } from '../../api/neighbours/velero.ts';
import { openCluster } from '../kubernetes/open.ts';
import { requestDeletion } from '../moving/free.ts';
import { isArchivedFor, isOfBackup, storageLocationOf } from '../moving/velero-marks.ts';
import type { DeleteItemAction } from './contract.ts';
import { DATA_UPLOADS } from './moved-resources.ts';

/** Frees what the DataUploads of a deleted backup carried away. Not for those of other movers, nor for those of other backups in its archive. */
export const freeDataUpload: DeleteItemAction = {
  kind: 'DeleteItemAction',
  name: 'datamover.io/free-data-upload',
  appliesTo: () => ({ includedResources: [DATA_UPLOADS] }),
  async execute(item, backup, context) {
    const { spec, status } = item as unknown as DataUpload;
    const text = status?.snapshotID ?? '';
    if (spec.datamover !== MOVER || text === '' || !isArchivedFor(item, backup)) return;
    const { parseSnapshotReference } = await import('../../api/snapshot-reference.ts');
    const subject = `DataUpload ${item.metadata.namespace ?? ''}/${item.metadata.name}`;
    const reference = readable(() => parseSnapshotReference(text), subject);
    const { repository, openedBy, sourceNamespace, claim, snapshotID } = reference;
    const here = isOfBackup(item.metadata.labels, backup) ? '' : storageLocationOf(backup);
    // Uploads lie in Velero's namespace, which another cluster may call otherwise.
    const namespace = backup.metadata.namespace ?? reference.protectedNamespace;
    const request = await requestDeletion(await openCluster(context), namespace, {
      ...('secret' in openedBy
        ? { resticSecretRef: { name: secretHere(openedBy.secret, here) } }
        : { backupTarget: openedBy.target }),
      ...{ resticrepository: repository, sourceNamespace, claim, snapshotID },
    });
    context.log.info(`SnapshotDeleteRequest ${request} frees the data of ${subject}`);
  },
};

function readable<T>(read: () => T, subject: string): T {
  try {
    return read();
  } catch (error) {
    throw new Error(
      `free the data of ${subject}: its snapshotID cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}
