import type { Id } from '../repository/types.ts';
import { selectBackups } from './select.ts';
import { describeSnapshot, type SnapshotFacts, type VolumeBackup } from './volume-backup.ts';

/** What the catalogue needs of a repository. */
export interface SnapshotSource {
  snapshots(): AsyncIterable<{ readonly id: Id; readonly snapshot: SnapshotFacts }>;
}

/** All backups in a repository, oldest first. */
export async function listBackups(repository: SnapshotSource): Promise<VolumeBackup[]> {
  const backups: VolumeBackup[] = [];
  for await (const { id, snapshot } of repository.snapshots()) backups.push(describeSnapshot(id, snapshot));
  return selectBackups(backups, {});
}
