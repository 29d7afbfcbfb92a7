import { DatamoverError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { StreamProducer } from '../repository/saver/stream-producer.ts';
import { rewriteSnapshot, type Snapshot } from '../repository/snapshot.ts';
import { formatTime } from '../repository/time.ts';
import { encodeTree, fileNode, type TreeNode } from '../repository/tree.ts';
import type { Compression, Id } from '../repository/types.ts';
import { programVersion } from '../version.ts';
import { mergeStreams } from '../volumes/zfs/merge/synthetic-full.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import { saveChain, type SavedChain } from './chain-backup.ts';
import { encodeVolumeRecord, VOLUME_FILE, type VolumeRecord } from './layout.ts';
import type { TransferOptions } from './progress.ts';
import { streamBytesBesideOthers } from './stream-bytes.ts';
import { planRounds, RoundsProgress } from './consolidation-rounds.ts';
import { SharedReadAhead } from './shared-read-ahead.ts';
import { findConsolidated, type Consolidated } from './consolidated.ts';
import { listStreams, type NumberedStream } from './stream-choice.ts';
import { VolumeReader } from './volume-reader.ts';
import { saveOptions, watch } from './watched-save.ts';

/** A backup whose chain of send streams is to become one full stream. */
export interface ConsolidationPlan {
  readonly snapshotId: Id;
  readonly snapshot: Snapshot;
  readonly reader: VolumeReader;
  readonly streams: readonly NumberedStream[];
  /** Of all streams: so many are read. */
  readonly bytes: number;
  /** Why there is nothing to do. */
  readonly nothing?: string;
  /** An earlier job has merged the chain, and did not come to remove the old snapshot, or was not asked to. */
  readonly earlier?: Consolidated;
}

export interface ConsolidationResult {
  /** That of another job where one has merged the same chain meanwhile. */
  readonly snapshotId: Id;
  readonly byAnother: boolean;
  /** Bytes of the full stream. */
  readonly bytes: number;
  /** Bytes of it that the repository had not. */
  readonly newBytes: number;
  /** Bytes that the store had to take. */
  readonly storedBytes: number;
  readonly seconds: number;
}

/** After a failure: a store that is out of service would be asked again and again for a quarter of an hour. */
const TIDY_WITHIN_MS = 20_000;
/** Each worker and each upload holds a pack, and each of the streams that are read the half of a blob. */
const LITTLE_MEMORY = { workers: 1, uploads: 1 } as const;

/** @throws DatamoverError where the backup is none of a chain of send streams, or its streams cannot be merged. */
export async function planConsolidation(
  repository: Repository,
  snapshotId: Id,
  signal?: AbortSignal,
): Promise<ConsolidationPlan> {
  const snapshot = await repository.loadSnapshot(snapshotId, signal);
  const reader = await VolumeReader.open(repository, snapshotId, snapshot, signal);
  const { record } = reader;
  if (record.format === 'image') {
    throw new DatamoverError({
      operation: 'consolidate snapshot',
      subject: snapshotId.slice(0, 8),
      cause: 'it keeps an image, which is whole by itself: there are no streams to merge',
      kind: 'usage',
    });
  }
  const streams = listStreams(record, snapshotId);
  const bytes = streams.reduce((sum, stream) => sum + stream.bytes, 0);
  const earlier = await findConsolidated(repository, { id: snapshotId, snapshot, streams }, signal);
  const nothing =
    streams.length === 1
      ? 'its chain is one full stream already'
      : earlier && `snapshot ${earlier.merged.slice(0, 8)} is its chain, merged already`;
  return {
    ...{ snapshotId, snapshot, reader, streams, bytes },
    ...(nothing !== undefined && { nothing }),
    ...(earlier && { earlier }),
  };
}

export interface ConsolidationOptions extends TransferOptions {
  readonly compression?: Compression;
  /** Streams that are read at once, two at least; a longer chain is merged in rounds. */
  readonly atOnce?: number;
}

/**
 * Saves the chain as one full stream, in a snapshot of its own that takes the old one's place: same time, host, tags and volume. The
 * old one stays as it is. The repository must be locked and its index loaded; a failed or stopped job leaves packs that the next one finds.
 */
export async function executeConsolidation(
  repository: Repository,
  { snapshotId, snapshot, reader, streams }: ConsolidationPlan,
  options: ConsolidationOptions = {},
): Promise<ConsolidationResult> {
  const started = performance.now();
  const begun = formatTime(new Date());
  const { signal, atOnce } = options;
  const rounds = planRounds(streams, atOnce);
  const progress = new RoundsProgress(rounds, (now) => options.onProgress?.(now));
  const job = { repository, record: reader.record, merged: streams.length, started, progress };
  let made: Round['made'] | undefined;
  let newBytes = 0;
  let storedBytes = 0;
  for (const round of rounds) {
    const sources = round.map(({ number }): StreamSource => ({ reader, number }));
    if (made !== undefined) {
      // Of no snapshot: what is not part of the last round's stream is waste that prune finds.
      const before = await VolumeReader.open(
        repository,
        snapshotId,
        { ...snapshot, tree: made.tree },
        signal,
      );
      sources.unshift({ reader: before, number: 0 });
    }
    const saved = await saveRound(job, sources, options);
    made = saved.made;
    progress.roundMade(made.bytes);
    newBytes += saved.newBytes;
    storedBytes += saved.storedBytes;
  }
  if (made === undefined) throw new Error('there are no streams to merge');
  const told = { bytes: made.bytes, newBytes, storedBytes };
  const seconds = (): number => (performance.now() - started) / 1000;
  // Hours may have passed. Where two look at the same moment there are two of the same, which harms nobody.
  await repository.relist(['snapshots'], signal);
  const other = await findConsolidated(repository, { id: snapshotId, snapshot, streams }, signal);
  if (other !== undefined) return { ...told, snapshotId: other.merged, byAnother: true, seconds: seconds() };
  const summary = snapshot.summary && {
    ...snapshot.summary,
    backup_start: begun,
    // Of two snapshots of one time the one that was made later is the newer.
    backup_end: formatTime(new Date()),
    data_added: newBytes,
    data_added_packed: storedBytes,
    total_bytes_processed: made.bytes,
  };
  const id = await repository.saveSnapshot(
    rewriteSnapshot(snapshotId, snapshot, {
      tree: made.tree,
      program_version: `datamover ${programVersion()}`,
      ...(summary && { summary }),
    }),
    signal,
  );
  return { ...told, snapshotId: id, byAnother: false, seconds: seconds() };
}

interface StreamSource {
  readonly reader: VolumeReader;
  readonly number: number;
}

interface Job {
  readonly repository: Repository;
  readonly record: VolumeRecord;
  /** Streams of the whole chain. */
  readonly merged: number;
  readonly started: number;
  readonly progress: RoundsProgress;
}

interface Round {
  /** A full stream, with its `volume.json`, in the store and in an index file. */
  readonly made: { readonly tree: Id; readonly bytes: number };
  readonly newBytes: number;
  readonly storedBytes: number;
}

async function saveRound(
  job: Job,
  sources: readonly StreamSource[],
  options: ConsolidationOptions,
): Promise<Round> {
  const { repository, record: old, merged } = job;
  const { signal, compression } = options;
  const session = repository.beginBackup({ signal, ...(compression && { compression }) });
  try {
    const saved = await saveMerged(job, session, sources, options);
    const record = mergedRecord(old, saved, merged);
    const tree = await saveRoot(session, record, saved.folder);
    await session.flush(signal);
    const made = { tree, bytes: record.bytes };
    return { made, newBytes: saved.counters.fresh, storedBytes: session.stored().bytes };
  } catch (error) {
    // Where the store fails this fails too: then the next backup finds the packs by their headers.
    await session.abandon(AbortSignal.timeout(TIDY_WITHIN_MS)).catch(() => undefined);
    throw error;
  }
}

async function saveMerged(
  { repository, started, progress }: Job,
  session: BackupSession,
  sources: readonly StreamSource[],
  options: TransferOptions,
): Promise<SavedChain> {
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const ahead = new SharedReadAhead(repository, signal);
  const read = sources.map(({ reader, number }) =>
    progress.counted(streamBytesBesideOthers(ahead, reader, number, { signal })),
  );
  const producer = new StreamProducer(mergeStreams(read));
  try {
    return await saveChain(
      repository,
      session,
      producer.input,
      undefined,
      { ...saveOptions(session, options), ...LITTLE_MEMORY },
      (save) => watch(save, { ...options, onProgress: progress.update }, started),
    );
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    throw producer.failure ?? error;
  } finally {
    // In this order: what still loads writes into the room.
    stop.abort();
    await producer.close().finally(() => ahead.close());
  }
}

/** The old record with one stream in the place of all. */
function mergedRecord(record: VolumeRecord, { streams }: SavedChain, merged: number): VolumeRecord {
  return {
    ...record,
    bytes: streams.reduce((sum, { bytes }) => sum + bytes, 0),
    streams: streams.map((stream) => ({ ...stream, zfs: { ...stream.zfs, merged } })),
  };
}

async function saveRoot(session: BackupSession, record: VolumeRecord, folder: TreeNode): Promise<Id> {
  const file = encodeVolumeRecord(record);
  const node = fileNode(VOLUME_FILE, file.length, [await session.saveData(file)]);
  return session.saveTree(encodeTree([node, folder]));
}
