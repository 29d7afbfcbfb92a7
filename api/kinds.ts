import { backupSchedule } from './backup-schedule.ts';
import { backupTarget } from './backup-target.ts';
import { backupVolume } from './backup-volume.ts';
import { backup } from './backup.ts';
import { dataMoverClass } from './data-mover-class.ts';
import type { Kind } from './schema/kind.ts';
import { snapshotDeleteRequest } from './snapshot-delete-request.ts';
import { volumeSnapshotBackup } from './volume-snapshot-backup.ts';
import { volumeSnapshotRestore } from './volume-snapshot-restore.ts';

/** All kinds that this software brings. */
export const KINDS: readonly Kind<unknown, unknown>[] = [
  volumeSnapshotBackup,
  volumeSnapshotRestore,
  dataMoverClass,
  backupTarget,
  backupVolume,
  backup,
  backupSchedule,
  snapshotDeleteRequest,
];
