import type { Repository } from '../repository/repository.ts';
import type { Snapshot } from '../repository/snapshot.ts';
import { compareTimes } from '../repository/time.ts';
import type { Id } from '../repository/types.ts';
import type { BaseBackup, DriverName } from '../volumes/driver.ts';
import { volumePath, type VolumeFormat, type VolumeName, type VolumeRecord } from './layout.ts';
import { VolumeReader } from './volume-reader.ts';

export interface EarlierBackup {
  readonly id: Id;
  readonly snapshot: Snapshot;
}

/** A storage keeps fewer snapshots than this to build on; each costs two small reads. */
const MAX_BASES = 16;

/** All backups of a volume on this host, the newest first. */
export async function earlierBackups(
  repository: Repository,
  host: string,
  volume: VolumeName,
): Promise<EarlierBackup[]> {
  const path = volumePath(volume);
  const found: EarlierBackup[] = [];
  for await (const { id, snapshot } of repository.snapshots({ onProblem: () => undefined })) {
    if (snapshot.hostname === host && snapshot.paths.length === 1 && snapshot.paths[0] === path)
      found.push({ id, snapshot });
  }
  return found.sort(newestFirst);
}

/** For sorting; of one time the one that was made later comes first (consolidate keeps the time). */
export function newestFirst(a: EarlierBackup, b: EarlierBackup): number {
  const ended = ({ snapshot: { summary, time } }: EarlierBackup): string => summary?.backup_end ?? time;
  return compareTimes(b.snapshot.time, a.snapshot.time) || compareTimes(ended(b), ended(a));
}

/** What a driver may build on among these backups. One that cannot be read, or is of the other format, is none. */
export async function readBases(
  repository: Repository,
  backups: readonly EarlierBackup[],
  driver: DriverName,
  format: VolumeFormat,
  signal?: AbortSignal,
): Promise<BaseBackup[]> {
  const bases = await Promise.all(
    backups.slice(0, MAX_BASES).map(async ({ id, snapshot }): Promise<BaseBackup | undefined> => {
      const reader = await VolumeReader.open(repository, id, snapshot, signal).catch(() => undefined);
      if (reader?.record.format !== format) return undefined;
      const { bytes, [driver]: own } = reader.record;
      const record = own ?? (driver === 'zfs' ? pipedChain(reader.record) : undefined);
      return { snapshotId: id, bytes, ...(record !== undefined && { record }) };
    }),
  );
  signal?.throwIfAborted();
  return bases.filter((base) => base !== undefined);
}

/** What a chain that came through pipes tells of itself, in the words of the driver's own record. */
function pipedChain({ streams }: VolumeRecord): { readonly guid: string; readonly raw?: true } | undefined {
  const last = streams?.at(-1)?.zfs;
  if (last === undefined) return undefined;
  return { guid: last.guid, ...(last.features.includes('raw') && { raw: true as const }) };
}
