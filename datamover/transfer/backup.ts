import { userInfo } from 'node:os';
import { DatamoverError } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import type { Repository } from '../repository/repository.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import type { Snapshot } from '../repository/snapshot.ts';
import { formatTime } from '../repository/time.ts';
import { encodeTree, fileNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import { programVersion } from '../version.ts';
import type { BackupPlan } from './backup-plan.ts';
import { HeldSource, type ReadReport } from './driver-backup.ts';
import { encodeVolumeRecord, VOLUME_FILE, volumePath, type VolumeFormat, type VolumeName } from './layout.ts';
import type { TransferOptions } from './progress.ts';
import { savePiped, type SavedContent } from './volume-content.ts';

export interface BackupSummary {
  /** Undefined after a dry run. */
  readonly snapshotId: Id | undefined;
  readonly parent: Id | undefined;
  readonly volume: VolumeName;
  readonly format: VolumeFormat;
  readonly totalBytes: number;
  readonly readBytes: number;
  readonly newBytes: number;
  readonly deduplicatedBytes: number;
  readonly zeroBytes: number;
  /** Bytes that the store had to take: packs of data and session. */
  readonly storedBytes: number;
  /** The part of `storedBytes` that is trees, volume.json, pack headers, and what a prune had marked of the base: stored anew. */
  readonly metadataBytes: number;
  readonly packs: number;
  /** How the source's driver read it; undefined of a pipe. */
  readonly read?: ReadReport;
  /** What went less well than it should have; the backup is whole all the same. */
  readonly warnings: readonly string[];
  readonly seconds: number;
}

/** After a failure: a store that is out of service would be asked again and again for a quarter of an hour. */
const TIDY_WITHIN_MS = 20_000;

type Counted = Omit<BackupSummary, 'snapshotId' | 'read' | 'warnings' | 'seconds'>;

/**
 * Carries the plan out. The repository must be locked and its index loaded. Nothing of the backup is visible before its
 * snapshot file is written, last of all; a failed or stopped backup leaves packs that the next one finds and uses.
 */
export async function executeBackup(
  repository: Repository,
  plan: BackupPlan,
  options: TransferOptions = {},
): Promise<BackupSummary> {
  const { source } = plan;
  if (source.kind !== 'driver') {
    const saved = await saveBackup(repository, plan, options, (session, started) =>
      savePiped(repository, session, plan, source, options, started),
    );
    return { ...saved, warnings: [] };
  }
  const held = new HeldSource(source);
  let saved: Omit<BackupSummary, 'warnings'>;
  try {
    saved = await saveBackup(repository, plan, options, (session, started) =>
      held.save(repository, session, plan, options, started),
    );
    if (!plan.dryRun) await held.keepBase();
  } catch (error) {
    // That is what is told, and not that something could not be let go after it.
    await held.release();
    throw error;
  }
  await held.release();
  return { ...saved, read: held.report(), warnings: held.warnings };
}

async function saveBackup(
  repository: Repository,
  plan: BackupPlan,
  options: TransferOptions,
  save: (session: BackupSession, started: number) => Promise<SavedContent>,
): Promise<Omit<BackupSummary, 'warnings'>> {
  const started = performance.now();
  const { dryRun, compression } = plan;
  const session = repository.beginBackup({ dryRun, compression, signal: options.signal });
  try {
    const content = await save(session, started);
    const record = encodeVolumeRecord(content.record);
    refuseNothing(plan, content.record.bytes);
    const volumeFile = fileNode(VOLUME_FILE, record.length, [await session.saveData(record)]);
    const tree = await session.saveTree(encodeTree([volumeFile, content.folder]));
    await session.flush(options.signal);
    const { counters } = content;
    const stored = session.stored();
    const summary: Counted = {
      parent: plan.parent,
      volume: plan.volume,
      format: plan.format,
      totalBytes: content.record.bytes,
      readBytes: counters.read,
      newBytes: counters.fresh,
      deduplicatedBytes: counters.duplicate,
      zeroBytes: counters.zero + content.holeBytes,
      storedBytes: stored.bytes,
      metadataBytes: stored.bytes - counters.stored,
      packs: stored.packs,
    };
    const snapshotId = plan.dryRun
      ? undefined
      : await repository.saveSnapshot(snapshotOf(plan, tree, summary), options.signal);
    return { snapshotId, ...summary, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    // Where the store fails this fails too: then the next backup finds the packs by their headers.
    await session.abandon(AbortSignal.timeout(TIDY_WITHIN_MS)).catch(() => undefined);
    throw error;
  }
}

/** The producer's exit status does not come through a pipe: one that fails before its first byte looks like an empty volume. */
function refuseNothing({ source, volume }: BackupPlan, bytes: number): void {
  const plain = source.kind === 'image-stream' || source.kind === 'stream';
  if (bytes > 0 || !plain || source.input.kind === 'command') return;
  throw new DatamoverError({
    operation: 'back up',
    subject: `${volume.namespace}/${volume.name}`,
    cause: 'not one byte came through the pipe',
    hint: 'see why the producer said nothing; with --stdin-command its failure is seen',
  });
}

function snapshotOf(plan: BackupPlan, tree: Id, summary: Counted): Snapshot {
  return {
    time: plan.time,
    ...(plan.parent && { parent: plan.parent }),
    tree,
    paths: [volumePath(plan.volume)],
    hostname: plan.host,
    username: userInfo().username,
    tags: plan.tags,
    program_version: `datamover ${programVersion()}`,
    summary: {
      backup_start: plan.time,
      backup_end: formatTime(new Date()),
      files_new: plan.parent ? 0 : 1,
      files_changed: plan.parent ? 1 : 0,
      files_unmodified: 0,
      dirs_new: 0,
      dirs_changed: 0,
      dirs_unmodified: 0,
      data_blobs: Math.ceil(summary.newBytes / CELL_BYTES),
      tree_blobs: summary.metadataBytes > 0 ? 1 : 0,
      data_added: summary.newBytes + summary.metadataBytes,
      data_added_packed: summary.storedBytes,
      total_files_processed: 1,
      total_bytes_processed: summary.totalBytes,
    },
  };
}
