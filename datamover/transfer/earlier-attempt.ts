import { describeCause } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { earlierBackups } from './base-backups.ts';
import type { BackupSummary } from './backup.ts';
import type { VolumeName } from './layout.ts';
import type { BackupSource } from './backup-plan.ts';
import { VolumeReader } from './volume-reader.ts';

export interface Attempt {
  readonly host: string;
  readonly volume: VolumeName;
  /** The tag that all attempts at one backup share. */
  readonly tag: string;
  readonly source: BackupSource;
}

/**
 * The backup that an earlier attempt at the same one has finished, told as if it had been made now: whoever waited for its summary
 * was gone by then. One that cannot be read is none.
 */
export async function findFinished(
  repository: Repository,
  { host, volume, tag, source }: Attempt,
  signal?: AbortSignal,
): Promise<BackupSummary | undefined> {
  const earlier = await earlierBackups(repository, host, volume);
  for (const { id, snapshot } of earlier) {
    if (snapshot.tags?.includes(tag) !== true) continue;
    const reader = await VolumeReader.open(repository, id, snapshot, signal).catch(() => undefined);
    signal?.throwIfAborted();
    if (reader === undefined) continue;
    const { bytes, format, changes, distrusted } = reader.record;
    const kept = await keepBaseOf(source, signal);
    return {
      ...{ snapshotId: id, parent: snapshot.parent, volume, format, totalBytes: bytes },
      // Nothing was read or stored now.
      ...{ readBytes: 0, newBytes: 0, deduplicatedBytes: 0, zeroBytes: 0 },
      ...{ storedBytes: 0, metadataBytes: 0, packs: 0, seconds: 0 },
      ...(changes && {
        read: {
          changes,
          ...(snapshot.parent !== undefined && { base: snapshot.parent }),
          ...(distrusted && { distrusted }),
        },
      }),
      warnings: [`an earlier attempt had finished this backup: ${tag}`, ...kept],
    };
  }
  return undefined;
}

/** What the next backup builds on is left behind last of all, so the attempt may have ended before. Answers a warning where it cannot be. */
async function keepBaseOf(source: BackupSource, signal?: AbortSignal): Promise<string[]> {
  if (source.kind !== 'driver') return [];
  const { driver, location } = source;
  try {
    const volume = await driver.identify(location, signal);
    await driver.keepBase(await driver.planRead(volume, { bases: [] }, signal));
    return [];
  } catch (error) {
    signal?.throwIfAborted();
    return [`the next backup may have to read everything: ${describeCause(error)}`];
  }
}
