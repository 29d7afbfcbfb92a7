import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { restoreAnnotations } from '../moving/restore-facts.ts';
import { isTransferOfBackup, SKIP_FROM_BACKUP } from '../moving/velero-marks.ts';
import { annotate, withoutMarks } from './annotate.ts';
import type { BackupItemAction } from './contract.ts';
import { BACKUPS, RESTORES } from './moved-resources.ts';

/**
 * The VolumeSnapshotBackups of a backup are its record of what was moved: what a restore needs goes into annotations, for Velero restores no
 * status. All other transfers that lie in the namespace stay out of the backup: restored, they would be orders to move something.
 */
export const transferRecord: BackupItemAction = {
  kind: 'BackupItemAction',
  name: 'datamover.io/transfer-record',
  appliesTo: () => ({ includedResources: [BACKUPS, RESTORES] }),
  async execute(item, backup) {
    // With --snapshot-move-data the record is Velero's DataUpload.
    const isRecord = item.kind === 'VolumeSnapshotBackup' && backup.spec['snapshotMoveData'] !== true;
    const clean = withoutMarks(item);
    if (!isRecord || !isTransferOfBackup(item.metadata.labels, backup))
      return { item: annotate(clean, { [SKIP_FROM_BACKUP]: 'true' }) };
    return { item: annotate(clean, restoreAnnotations(item as unknown as VolumeSnapshotBackup)) };
  },
};
