import { DatamoverError } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import type { Repository } from '../repository/repository.ts';
import {
  CELL_BYTES,
  saveCells,
  saveImageStream,
  type CellRun,
  type SaveCounters,
  type StreamInput,
} from '../repository/saver/saver.ts';
import { folderNode, type TreeNode } from '../repository/tree.ts';
import type { FeedPipe, ReadPlan, VolumeFeed } from '../volumes/driver.ts';
import { openImage } from '../volumes/file/source.ts';
import type { BackupPlan, PipedSource } from './backup-plan.ts';
import { cellsToRead } from './cells.ts';
import { saveChain } from './chain-backup.ts';
import { ContentList } from './content-list.ts';
import { type BaseImage, type FedImage, type ImageFacts } from './fed-image.ts';
import { FingerprintList } from './fingerprints.ts';
import { ImageTree } from './image-tree.ts';
import { KnownImage } from './known-image.ts';
import { CELLS_PER_SEGMENT, IMAGE_FOLDER, SEGMENT_BYTES, type VolumeRecord } from './layout.ts';
import type { KnownBytes, TransferOptions } from './progress.ts';
import { savePlainStream } from './plain-stream.ts';
import { saveDiff } from './rbd-backup.ts';
import { readChainBase, type ChainBase } from './stream-chain.ts';
import type { KeptCells } from './sample.ts';
import { forEachBlob, SavedBlobs, saveOptions, SaveWatch, watch } from './watched-save.ts';
import { saveZvol } from './zvol-backup.ts';

/** What became of a volume's bytes: everything of its snapshot but `volume.json` and the root. */
export interface SavedContent {
  readonly record: VolumeRecord;
  /** The `image` or `streams` folder. */
  readonly folder: TreeNode;
  readonly counters: SaveCounters;
  /** Bytes that were known to be zero without reading them. */
  readonly holeBytes: number;
  /** Bytes that were taken over from the base without reading them. */
  readonly keptBytes: number;
  /** Of an image that was built on a base: which of its cells those are. */
  readonly kept?: KeptCells;
}

/** Stores the bytes of a volume as an image or a stream, and the trees that name them. */
export async function savePiped(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  source: PipedSource,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  switch (source.kind) {
    case 'image-stream':
      return savePipedImage(repository, session, plan, source.input, options, started);
    case 'zvol-stream':
      return saveChanges(saveZvol, repository, session, plan, source.input, plan.base, options, started);
    case 'rbd-diff':
      return saveChanges(saveDiff, repository, session, plan, source.input, plan.base, options, started);
    case 'zfs-stream':
      return saveZfsStream(repository, session, plan, source.input, plan.chain, options, started);
    case 'stream':
      return savePlainStream(repository, session, plan, source.input, options, started);
  }
}

/** What is read of a volume by its driver, and the image that it builds on. */
export interface FedSource {
  readonly read: ReadPlan;
  /** Undefined where the plan has no base, or the base is no image. */
  readonly base: BaseImage | undefined;
}

/** Stores what a driver reads of a volume. */
export async function saveFeed(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  { read, base }: FedSource,
  feed: VolumeFeed,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const content = await saveFed(repository, session, plan, { read, base }, feed, options, started);
  const { driver, record } = read.source;
  const own = content.record[driver];
  return {
    ...content,
    // What the stream itself says of the volume counts more than what the storage said before it was read.
    record: { ...content.record, changes: read.changes, [driver]: { ...record, ...own } },
  };
}

async function saveFed(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  { read, base }: FedSource,
  feed: VolumeFeed,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const known = knownOf(read, feed);
  switch (feed.kind) {
    case 'file':
      return saveImageFile(repository, session, plan, feed, options, started);
    case 'zvol-send':
      return saveChanges(saveZvol, repository, session, plan, program(feed), base, options, started, known);
    case 'rbd-diff':
      return readingPipe(feed.pipe, read.source.location, options, (input, either) =>
        saveChanges(saveDiff, repository, session, plan, input, base, either, started, known),
      );
    case 'zfs-stream': {
      const id = read.base?.snapshotId;
      const chain = id === undefined ? undefined : await readChainBase(repository, id, options.signal);
      return saveZfsStream(repository, session, plan, program(feed), chain, options, started, known);
    }
  }
}

/** A storage may tell later what it expects to send. */
function knownOf({ base, source, estimateBytes }: ReadPlan, feed: VolumeFeed): KnownBytes {
  const known = { estimateBytes: estimateBytes ?? (base === undefined ? source.bytes : undefined) };
  if ('estimate' in feed) {
    void feed.estimate.then((bytes) => {
      known.estimateBytes = bytes ?? known.estimateBytes;
    });
  }
  return known;
}

function program({ command }: Extract<VolumeFeed, { command: unknown }>): StreamInput {
  return { kind: 'command', ...command };
}

/** What the producer says went wrong tells more than the stream that ends early for it. */
async function readingPipe<T>(
  pipe: FeedPipe,
  subject: string,
  options: TransferOptions,
  save: (input: StreamInput, options: TransferOptions) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  const either = signal === undefined ? pipe.failed : AbortSignal.any([signal, pipe.failed]);
  let saved: T;
  try {
    saved = await save({ kind: 'fd', fd: pipe.fd }, { ...options, signal: either });
  } catch (error) {
    await pipe.finish();
    throw error;
  }
  if ((await pipe.finish()) === 'ended') return saved;
  const cause = 'its producer does not say that it was whole';
  throw new DatamoverError({ operation: 'read', subject, cause, hint: 'back up again', retryable: true });
}

async function saveImageFile(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  { path, readHoles }: Extract<VolumeFeed, { kind: 'file' }>,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const image = openImage(path);
  try {
    const everything = [{ offset: 0, length: image.bytes }];
    const runs = cellsToRead(image.bytes, readHoles === true ? everything : image.extents());
    const tree = new ImageTree(image.bytes, runs, session);
    const holeBytes = image.bytes - bytesOf(runs, image.bytes);
    const { counters } = await besideParent(repository, plan, runs, options, (known) => {
      const save = saveCells(
        session,
        { fd: image.fd, imageBytes: image.bytes, runs },
        {
          ...saveOptions(session, options),
          onBlobs: (batch) =>
            forEachBlob(batch, (cell, id, fingerprint) => {
              tree.set(cell, id, fingerprint);
              known?.told(cell);
            }),
        },
        known?.cells,
      );
      return watch(save, options, started, { totalBytes: image.bytes, holeBytes });
    });
    // The trees name it for every hole, and a file that changes while it is read need not have given us one.
    if (holeBytes > 0) await session.saveData(new Uint8Array(CELL_BYTES));
    return {
      record: imageRecord(plan, image.bytes),
      folder: folderNode(IMAGE_FOLDER, await tree.finish()),
      counters,
      holeBytes,
      keptBytes: 0,
    };
  } finally {
    image.close();
  }
}

async function savePipedImage(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  input: StreamInput,
  options: TransferOptions,
  started: number,
): Promise<SavedContent> {
  const blobs = new SavedBlobs();
  const { bytes, counters } = await besideParent(repository, plan, 'all', options, (known) => {
    const save = saveImageStream(
      session,
      input,
      {
        ...saveOptions(session, options),
        onBlobs: (batch) => {
          blobs.add(batch);
          for (const cell of batch.places) known?.told(cell);
        },
      },
      known?.cells,
    );
    return watch(save, options, started);
  });
  return {
    record: imageRecord(plan, bytes),
    folder: await imageFolder(session, bytes, blobs.content, blobs.fingerprints),
    counters,
    holeBytes: 0,
    keptBytes: 0,
  };
}

/** Saves an image beside what the backup before has of the same cells. */
async function besideParent<Saved>(
  repository: Repository,
  { parent }: BackupPlan,
  told: readonly CellRun[] | 'all',
  { signal }: TransferOptions,
  save: (known: KnownImage | undefined) => Promise<Saved>,
): Promise<Saved> {
  const known = await KnownImage.open(repository, parent, told, signal);
  try {
    return await save(known);
  } finally {
    await known?.close();
  }
}

/** `save`: of the stream's kind, saveZvol or saveDiff. */
async function saveChanges(
  save: (
    ...of: Parameters<typeof saveZvol>
  ) => Promise<FedImage<ImageFacts> & Pick<VolumeRecord, 'zfs' | 'rbd'>>,
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  input: StreamInput,
  base: BaseImage | undefined,
  options: TransferOptions,
  started: number,
  known: KnownBytes = {},
): Promise<SavedContent> {
  const watching = new SaveWatch(options, started, known);
  const keeping = { ...saveOptions(session, options), onStoredAgain: watching.storedAgain };
  const { zfs, rbd, ...saved } = await save(repository, session, input, base, keeping, watching.end);
  const record = { ...imageRecord(plan, saved.facts.bytes), ...(zfs && { zfs }), ...(rbd && { rbd }) };
  return fedContent(session, record, saved);
}

async function fedContent(
  session: BackupSession,
  record: VolumeRecord,
  { content, fingerprints, counters, keptBytes, freedBytes, kept }: FedImage<ImageFacts>,
): Promise<SavedContent> {
  return {
    record,
    folder: await imageFolder(session, record.bytes, content, fingerprints),
    counters: { ...counters, duplicate: counters.duplicate + keptBytes },
    holeBytes: freedBytes,
    keptBytes,
    kept: { cells: kept, content, fingerprints, imageBytes: record.bytes },
  };
}

async function imageFolder(
  session: BackupSession,
  bytes: number,
  content: ContentList,
  fingerprints: FingerprintList,
): Promise<TreeNode> {
  const count = Math.ceil(bytes / CELL_BYTES);
  const tree = new ImageTree(bytes, [{ first: 0, count }], session);
  for (let cell = 0; cell < count; cell++) {
    if (cell % CELLS_PER_SEGMENT === 0) await tree.written();
    tree.set(cell, content.at(cell), fingerprints.at(cell));
  }
  return folderNode(IMAGE_FOLDER, await tree.finish());
}

async function saveZfsStream(
  repository: Repository,
  session: BackupSession,
  plan: BackupPlan,
  input: StreamInput,
  base: ChainBase | undefined,
  options: TransferOptions,
  started: number,
  known: KnownBytes = {},
): Promise<SavedContent> {
  const watching = new SaveWatch(options, started, known);
  const { streams, folder, counters, keptBytes } = await saveChain(
    repository,
    session,
    input,
    base,
    { ...saveOptions(session, options), onStoredAgain: watching.storedAgain },
    watching.end,
  );
  const bytes = streams.reduce((sum, stream) => sum + stream.bytes, 0);
  return {
    record: { schema: 1, volume: plan.volume, format: 'stream', driver: plan.driver, bytes, streams },
    folder,
    counters: { ...counters, duplicate: counters.duplicate + keptBytes },
    holeBytes: 0,
    keptBytes,
  };
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
