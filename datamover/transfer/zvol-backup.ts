import { DatamoverError } from '../errors.ts';
import { fromBytes, toBytes } from '../repository/id.ts';
import type { Repository } from '../repository/repository.ts';
import {
  CELL_BYTES,
  saveFed,
  type Save,
  type SaveCounters,
  type SaveOptions,
  type StreamInput,
} from '../repository/saver/saver.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import type { Id } from '../repository/types.ts';
import type { ZvolBase, ZvolFacts } from '../volumes/zfs/zvol-image.ts';
import { ContentList } from './content-list.ts';
import { zeroBlobId } from './image-tree.ts';
import type { VolumeRecord } from './layout.ts';
import { VolumeReader } from './volume-reader.ts';

/** The backup that an incremental stream builds on. */
export interface ZvolBaseBackup extends ZvolBase {
  readonly snapshotId: Id;
  readonly blockBytes: number | undefined;
}

export interface ZvolThreadData {
  readonly base: ZvolBase | undefined;
}

export interface ZvolThreadNote {
  readonly facts: ZvolFacts;
  readonly freed: readonly { readonly first: number; readonly count: number }[];
}

/** What a save of a zvol's stream came to. */
export interface SavedZvol {
  readonly bytes: number;
  /** The ids of all cells of the new image, and of more where it shrank. */
  readonly content: ContentList;
  readonly zfs: NonNullable<VolumeRecord['zfs']>;
  readonly counters: SaveCounters;
  /** Bytes of cells that are the base's, and of those that the stream says are zero. */
  readonly keptBytes: number;
  readonly freedBytes: number;
}

/** What a backup says of the volume that an increment must fit; undefined where it is no image. */
export async function readZvolBase(repository: Repository, id: Id): Promise<ZvolBaseBackup | undefined> {
  const { record } = await VolumeReader.open(repository, id, await repository.loadSnapshot(id));
  if (record.format !== 'image') return undefined;
  return {
    snapshotId: id,
    name: `backup ${id.slice(0, 8)}`,
    guid: record.zfs?.guid,
    bytes: record.bytes,
    blockBytes: record.zfs?.volblocksize,
  };
}

/**
 * Saves a zvol's send stream as an image: the cells that it touches are new, completed from the base where it gives parts of
 * them; all others are the base's, named again. `watch` waits for the save.
 */
export async function saveZvol(
  repository: Repository,
  session: BackupSession,
  input: StreamInput,
  base: ZvolBaseBackup | undefined,
  options: Omit<SaveOptions, 'onBlobs'>,
  watch: (save: Save) => Promise<unknown>,
): Promise<SavedZvol> {
  const { content, unknown } = await loadContent(repository, base);
  let note: ZvolThreadNote | undefined;
  const save = saveFed(
    session,
    {
      script: new URL('./zvol-thread.js', import.meta.url),
      input,
      data: {
        base: base && { guid: base.guid, bytes: base.bytes, name: base.name },
      } satisfies ZvolThreadData,
      loadBase: (cell) => loadCell(repository, base, content, cell),
      onNote: (said) => {
        note = said as ZvolThreadNote;
      },
    },
    {
      ...options,
      onBlobs: ({ places, ids }) =>
        places.forEach((place, i) => content.set(place, ids.subarray(i * 32, i * 32 + 32))),
    },
  );
  await watch(save);
  if (note === undefined) throw new Error('the thread ended without a word');
  const { facts, freed } = note;
  if (facts.fromGuid !== undefined && base !== undefined && unknown > 0) {
    throw new DatamoverError({
      operation: 'back up onto',
      subject: base.name,
      cause: `${unknown} of its blobs are missing in the repository`,
      hint: 'send a full stream; check tells what else is damaged',
    });
  }
  const zero = toBytes(zeroBlobId(CELL_BYTES));
  let freedCells = 0;
  for (const { first, count } of freed) {
    // A volume that shrank is freed beyond its end.
    const end = Math.min(first + count, Math.ceil(facts.bytes / CELL_BYTES));
    for (let cell = first; cell < end; cell++, freedCells++) content.set(cell, zero);
  }
  if (freedCells > 0) await session.saveData(new Uint8Array(CELL_BYTES));
  const counters = save.counters();
  const touchedBytes = counters.fresh + counters.duplicate + counters.zero;
  const freedBytes = freedCells * CELL_BYTES;
  const blockBytes = facts.blockBytes ?? base?.blockBytes;
  return {
    bytes: facts.bytes,
    content,
    counters,
    keptBytes: facts.bytes - touchedBytes - freedBytes,
    freedBytes,
    zfs: {
      guid: facts.guid,
      ...(facts.fromGuid !== undefined && { fromGuid: facts.fromGuid }),
      snapshot: facts.snapshot,
      ...(blockBytes !== undefined && { volblocksize: blockBytes }),
    },
  };
}

/** The ids of the base's cells, and how many of them nobody can read. */
async function loadContent(
  repository: Repository,
  base: ZvolBaseBackup | undefined,
): Promise<{ content: ContentList; unknown: number }> {
  const content = new ContentList();
  if (base === undefined) return { content, unknown: 0 };
  const reader = await VolumeReader.open(
    repository,
    base.snapshotId,
    await repository.loadSnapshot(base.snapshotId),
  );
  for await (const file of reader.files()) {
    for (const id of file.content) content.set(content.length, toBytes(id));
  }
  let unknown = unknownCells(repository, content);
  const [first] = unknown;
  if (first !== undefined) {
    // A backup that ended since our index was read: loading a blob of it reads the index on.
    await repository.loadBlob('data', fromBytes(content.at(first))).catch(() => undefined);
    unknown = unknownCells(repository, content);
  }
  return { content, unknown: unknown.length };
}

function unknownCells(repository: Repository, content: ContentList): number[] {
  const unknown: number[] = [];
  for (let cell = 0; cell < content.length; cell++) {
    if (repository.index.lookup('data', content.at(cell)) === undefined) unknown.push(cell);
  }
  return unknown;
}

async function loadCell(
  repository: Repository,
  base: ZvolBaseBackup | undefined,
  content: ContentList,
  cell: number,
): Promise<Uint8Array> {
  const length = Math.min(CELL_BYTES, (base?.bytes ?? 0) - cell * CELL_BYTES);
  const id = fromBytes(content.at(cell));
  if (id === zeroBlobId(length)) return new Uint8Array(length);
  try {
    const bytes = await repository.loadBlob('data', id);
    if (bytes.length !== length) throw new Error(`a blob has ${bytes.length} bytes instead of ${length}`);
    return bytes;
  } catch (cause) {
    const subject = `${base?.name ?? 'no base'} at byte ${cell * CELL_BYTES}`;
    const hint = 'send a full stream; check tells what else is damaged';
    throw new DatamoverError({ operation: 'back up onto', subject, cause, hint });
  }
}
