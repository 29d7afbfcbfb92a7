import { hostname, userInfo } from 'node:os';
import { DatamoverError } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import { sha256 } from '../repository/id.ts';
import type { Repository } from '../repository/repository.ts';
import {
  CELL_BYTES,
  saveCells,
  saveStream,
  type BlobBatch,
  type CellRun,
  type Save,
  type SaveCounters,
  type StreamInput,
} from '../repository/saver/saver.ts';
import type { Snapshot } from '../repository/snapshot.ts';
import { epochMilliseconds, formatTime } from '../repository/time.ts';
import { encodeTree, fileNode, folderNode, type TreeNode } from '../repository/tree.ts';
import type { Compression, Id } from '../repository/types.ts';
import { programVersion } from '../version.ts';
import { openImage } from '../volumes/file/source.ts';
import { cellsToRead } from './cells.ts';
import { ContentList } from './content-list.ts';
import { ImageTree } from './image-tree.ts';
import {
  encodeVolumeRecord,
  IMAGE_FOLDER,
  SEGMENT_BYTES,
  STREAM_FILE,
  streamFolder,
  STREAMS_FOLDER,
  VOLUME_FILE,
  volumePath,
  type VolumeFormat,
  type VolumeName,
  type VolumeRecord,
} from './layout.ts';
import { progressOf, PROGRESS_INTERVAL_MS, type Progress } from './progress.ts';
import { readZvolBase, saveZvol, type ZvolBaseBackup } from './zvol-backup.ts';

export type BackupSource =
  /** An image file or a block device. */
  | { readonly kind: 'image-file'; readonly path: string }
  /** The bytes of an image, one after the other. */
  | { readonly kind: 'image-stream'; readonly input: StreamInput }
  /** A zvol's send stream, full or from the snapshot of the backup before: it becomes an image. */
  | { readonly kind: 'zvol-stream'; readonly input: StreamInput }
  /** Bytes without a grid: a send stream, a dump. */
  | { readonly kind: 'stream'; readonly input: StreamInput };

export interface BackupRequest {
  readonly volume: VolumeName;
  readonly source: BackupSource;
  readonly tags?: readonly string[];
  /** The cluster's name; this machine's without it. */
  readonly host?: string;
  readonly time?: Date;
  /** The backup to name as the one before; null for none, and the newest of the volume without it. */
  readonly parent?: Id | null;
  readonly compression?: Compression;
  /** Reads and compares, stores nothing. */
  readonly dryRun?: boolean;
}

export interface BackupPlan {
  readonly volume: VolumeName;
  readonly source: BackupSource;
  readonly format: VolumeFormat;
  readonly driver: string;
  readonly host: string;
  readonly tags: readonly string[];
  readonly time: string;
  readonly parent: Id | undefined;
  /** What a zvol's incremental stream has to fit; the parent, if that is an image. */
  readonly base?: ZvolBaseBackup;
  readonly compression: Compression;
  readonly dryRun: boolean;
  /** Bytes of the volume; unknown for a stream. */
  readonly totalBytes: number | undefined;
}

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
  /** The part of `storedBytes` that is trees, volume.json and pack headers. */
  readonly metadataBytes: number;
  readonly packs: number;
  readonly seconds: number;
}

export interface TransferOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly workers?: number;
}

export async function planBackup(repository: Repository, request: BackupRequest): Promise<BackupPlan> {
  const host = request.host ?? hostname();
  const format: VolumeFormat = request.source.kind === 'stream' ? 'stream' : 'image';
  const driver = request.source.kind === 'image-file' ? 'file' : 'stdin';
  const parent =
    request.parent === null
      ? undefined
      : (request.parent ?? (await newestOf(repository, host, request.volume)));
  const base =
    request.source.kind === 'zvol-stream' && parent !== undefined
      ? await readZvolBase(repository, parent)
      : undefined;
  return {
    volume: request.volume,
    source: request.source,
    format,
    driver,
    host,
    tags: [
      `volume=${request.volume.namespace}/${request.volume.name}`,
      `driver=${driver}`,
      `format=${format}`,
      ...(request.tags ?? []),
    ],
    time: formatTime(request.time ?? new Date()),
    parent,
    ...(base && { base }),
    compression: request.compression ?? 'auto',
    dryRun: request.dryRun ?? false,
    totalBytes: request.source.kind === 'image-file' ? sizeOfImage(request.source.path) : undefined,
  };
}

/**
 * Carries the plan out. The repository must be locked and its index loaded. Nothing of the backup is visible before its
 * snapshot file is written, last of all; a failed or stopped backup leaves packs that the next one finds and uses.
 */
export async function executeBackup(
  repository: Repository,
  plan: BackupPlan,
  options: TransferOptions = {},
): Promise<BackupSummary> {
  const started = performance.now();
  const { dryRun, compression } = plan;
  const session = repository.beginBackup({ dryRun, compression, signal: options.signal });
  try {
    const content = await saveContent(repository, session, plan, options, started);
    const record = encodeVolumeRecord(content.record);
    refuseNothing(plan, content.record.bytes);
    const volumeFile = fileNode(VOLUME_FILE, record.length, [await session.saveData(record)]);
    const tree = await session.saveTree(encodeTree([volumeFile, content.folder]));
    await session.flush(options.signal);
    const { counters } = content;
    const stored = session.stored();
    const summary: Omit<BackupSummary, 'snapshotId' | 'seconds'> = {
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
      : await repository.saveSnapshot(snapshotOf(plan, tree, summary));
    return { snapshotId, ...summary, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    // Where the store fails this fails too: then the next backup finds the packs by their headers.
    await session.abandon().catch(() => undefined);
    throw error;
  }
}

interface SavedContent {
  readonly record: VolumeRecord;
  /** The `image` or `streams` folder. */
  readonly folder: TreeNode;
  readonly counters: SaveCounters;
  /** Bytes that were known to be zero without reading them. */
  readonly holeBytes: number;
}

async function saveContent(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const { source } = plan;
  switch (source.kind) {
    case 'image-file':
      return saveImageFile(session, plan, source.path, options, started);
    case 'image-stream':
      return saveImageStream(session, plan, source.input, options, started);
    case 'zvol-stream':
      return saveZvolStream(repository, session, plan, source.input, options, started);
    case 'stream':
      return saveSendStream(session, plan, source.input, options, started);
  }
}

async function saveImageFile(
  session: BackupSession,
  plan: BackupPlan,
  path: string,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const image = openImage(path);
  try {
    const runs = cellsToRead(image.bytes, image.extents());
    const tree = new ImageTree(image.bytes, runs, (bytes) => session.saveTree(bytes));
    const save = saveCells(
      session,
      { fd: image.fd, imageBytes: image.bytes, runs },
      {
        ...saveOptions(session, options),
        onBlobs: (batch) => forEachBlob(batch, (cell, id) => tree.set(cell, id)),
      },
    );
    const known = { totalBytes: image.bytes, holeBytes: image.bytes - bytesOf(runs, image.bytes) };
    await watch(save, options, started, known);
    // The trees name it for every hole, and a file that changes while it is read need not have given us one.
    if (known.holeBytes > 0) await session.saveData(new Uint8Array(CELL_BYTES));
    return {
      record: imageRecord(plan, image.bytes),
      folder: folderNode(IMAGE_FOLDER, await tree.finish()),
      counters: save.counters(),
      holeBytes: known.holeBytes,
    };
  } finally {
    image.close();
  }
}

async function saveImageStream(
  session: BackupSession,
  plan: BackupPlan,
  input: StreamInput,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const content = new ContentList();
  const save = saveStream(session, input, 'grid', {
    ...saveOptions(session, options),
    onBlobs: (batch) => forEachBlob(batch, (place, id) => content.set(place, id)),
  });
  const { bytes } = await watch(save, options, started);
  return {
    record: imageRecord(plan, bytes),
    folder: await imageFolder(session, bytes, content),
    counters: save.counters(),
    holeBytes: 0,
  };
}

async function saveZvolStream(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  input: StreamInput,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const { bytes, content, zfs, keptBytes, freedBytes, counters } = await saveZvol(
    repository,
    session,
    input,
    plan.base,
    saveOptions(session, options),
    (save) => watch(save, options, started),
  );
  return {
    record: { ...imageRecord(plan, bytes), zfs },
    folder: await imageFolder(session, bytes, content),
    counters: { ...counters, duplicate: counters.duplicate + keptBytes },
    holeBytes: freedBytes,
  };
}

async function imageFolder(session: BackupSession, bytes: number, content: ContentList): Promise<TreeNode> {
  const count = Math.ceil(bytes / CELL_BYTES);
  const tree = new ImageTree(bytes, [{ first: 0, count }], (encoded) => session.saveTree(encoded));
  for (let cell = 0; cell < count; cell++) tree.set(cell, content.at(cell));
  return folderNode(IMAGE_FOLDER, await tree.finish());
}

async function saveSendStream(
  session: BackupSession,
  plan: BackupPlan,
  input: StreamInput,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const content = new ContentList();
  const save = saveStream(session, input, 'content', {
    ...saveOptions(session, options),
    onBlobs: (batch) => forEachBlob(batch, (place, id) => content.set(place, id)),
  });
  const { bytes } = await watch(save, options, started);
  // A stream that brings no identity of its own is named by its content, so equal streams share their tree.
  const folder = streamFolder(0, sha256(content.bytes).slice(0, 16));
  const file = await session.saveTree(encodeTree([fileNode(STREAM_FILE, bytes, content.ids())]));
  return {
    record: {
      schema: 1,
      volume: plan.volume,
      format: 'stream',
      driver: plan.driver,
      bytes,
      streams: [{ folder, bytes }],
    },
    folder: folderNode(STREAMS_FOLDER, await session.saveTree(encodeTree([folderNode(folder, file)]))),
    counters: save.counters(),
    holeBytes: 0,
  };
}

/** Waits for the save, reporting meanwhile. */
async function watch(
  save: Save,
  { onProgress }: TransferOptions,
  started: number,
  known: { readonly totalBytes?: number; readonly holeBytes?: number } = {},
) {
  const report = (phase: Progress['phase']): void =>
    onProgress?.(progressOf(phase, save.counters(), started, known));
  const timer = onProgress && setInterval(() => report('transferring'), PROGRESS_INTERVAL_MS);
  try {
    return await save.finished;
  } finally {
    clearInterval(timer);
    report('finishing');
  }
}

function saveOptions(session: BackupSession, { signal, workers }: TransferOptions) {
  return {
    level: session.level,
    ...(signal && { signal }),
    ...(workers !== undefined && { workers }),
  };
}

function forEachBlob({ places, ids }: BlobBatch, visit: (place: number, id: Uint8Array) => void): void {
  places.forEach((place, i) => visit(place, ids.subarray(i * 32, i * 32 + 32)));
}

function imageRecord(plan: BackupPlan, bytes: number): VolumeRecord {
  const image = { segmentBytes: SEGMENT_BYTES, blobBytes: CELL_BYTES };
  return { schema: 1, volume: plan.volume, format: 'image', driver: plan.driver, bytes, image };
}

function bytesOf(runs: readonly CellRun[], imageBytes: number): number {
  return runs.reduce(
    (sum, { first, count }) => sum + Math.min((first + count) * CELL_BYTES, imageBytes) - first * CELL_BYTES,
    0,
  );
}

/** The producer's exit status does not come through a pipe: one that fails before its first byte looks like an empty volume. */
function refuseNothing({ source, volume }: BackupPlan, bytes: number): void {
  if (bytes > 0 || source.kind === 'image-file' || source.input.kind === 'command') return;
  throw new DatamoverError({
    operation: 'back up',
    subject: `${volume.namespace}/${volume.name}`,
    cause: 'not one byte came through the pipe',
    hint: 'see why the producer said nothing; with --stdin-command its failure is seen',
  });
}

function sizeOfImage(path: string): number {
  const image = openImage(path);
  image.close();
  return image.bytes;
}

async function newestOf(repository: Repository, host: string, volume: VolumeName): Promise<Id | undefined> {
  const path = volumePath(volume);
  let newest: { id: Id; time: number } | undefined;
  for await (const { id, snapshot } of repository.snapshots({ onProblem: () => undefined })) {
    if (snapshot.hostname !== host || snapshot.paths.length !== 1 || snapshot.paths[0] !== path) continue;
    const time = epochMilliseconds(snapshot.time);
    if (newest === undefined || time > newest.time) newest = { id, time };
  }
  return newest?.id;
}

function snapshotOf(
  plan: BackupPlan,
  tree: Id,
  summary: Omit<BackupSummary, 'snapshotId' | 'seconds'>,
): Snapshot {
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
