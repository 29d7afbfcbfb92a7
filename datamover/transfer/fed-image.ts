import { DatamoverError, describeCause } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import { BitSet } from '../repository/bit-set.ts';
import { fromBytes, shortId, toBytes } from '../repository/id.ts';
import { inFlight } from '../repository/in-flight.ts';
import type { Repository } from '../repository/repository.ts';
import {
  CELL_BYTES,
  saveFed,
  type BaseCell,
  type Save,
  type SaveCounters,
  type StreamInput,
} from '../repository/saver/saver.ts';
import type { Id } from '../repository/types.ts';
import { ContentList } from './content-list.ts';
import { fingerprintAt, FingerprintList, NO_FINGERPRINT } from './fingerprints.ts';
import { zeroBlobId } from './image-tree.ts';
import { storeMarkedAgain } from './kept-blobs.ts';
import type { VolumeRecord } from './layout.ts';
import type { KeepingOptions } from './progress.ts';
import { VolumeReader, type ContentFile } from './volume-reader.ts';

/** Of a base, whose fingerprints are read at the same time. */
const SEGMENTS_AT_ONCE = 8;

/** An earlier backup of an image, which a stream of changes may build on. */
export interface BaseImage {
  readonly snapshotId: Id;
  /** For messages: `backup 1a2b3c4d`. */
  readonly name: string;
  readonly record: VolumeRecord;
  /** Where it was loaded beforehand; whoever saves an image takes it over and changes it. */
  readonly loaded?: BaseContent;
}

/** The ids and fingerprints of an image's cells. */
export interface BaseContent {
  readonly content: ContentList;
  readonly fingerprints: FingerprintList;
  /** Of how many cells the index knows no blob. */
  readonly unknown: number;
}

/** What every stream tells of the image it makes; a reader's own facts have more. */
export interface ImageFacts {
  readonly bytes: number;
  /** Whether all that the stream does not name is the base's. */
  readonly increment: boolean;
}

/** What a thread that makes cells says at its end. */
export interface FedNote<Facts extends ImageFacts> {
  readonly facts: Facts;
  readonly freed: readonly { readonly first: number; readonly count: number }[];
}

/** A stream of changes, and the thread (cell-thread.ts) that knows its kind. */
export interface ImageFeed {
  readonly script: URL;
  readonly input: StreamInput;
  /** What the thread has to know of the base. */
  readonly data: unknown;
}

/** What a save came to. */
export interface FedImage<Facts extends ImageFacts> {
  readonly facts: Facts;
  /** The ids of all cells of the new image, and of more where it shrank. */
  readonly content: ContentList;
  /** Beside the ids. */
  readonly fingerprints: FingerprintList;
  readonly counters: SaveCounters;
  /** Bytes of cells that are the base's, and of those that the stream says are zero. */
  readonly keptBytes: number;
  readonly freedBytes: number;
  /** Which cells of the base were taken over. */
  readonly kept: BitSet;
}

/** What a backup says of the volume that an increment must fit; undefined where it is no image. */
export async function readBaseImage(repository: Repository, id: Id): Promise<BaseImage | undefined> {
  const { record } = await VolumeReader.open(repository, id, await repository.loadSnapshot(id));
  if (record.format !== 'image') return undefined;
  return { snapshotId: id, name: `backup ${id.slice(0, 8)}`, record };
}

/** The same with its content. */
export async function loadBaseImage(
  repository: Repository,
  id: Id,
  signal?: AbortSignal,
): Promise<(BaseImage & { readonly loaded: BaseContent }) | undefined> {
  const base = await readBaseImage(repository, id);
  return base && { ...base, loaded: await loadContent(repository, base, signal) };
}

/**
 * Saves a stream of changes as an image: the cells that it touches are new, completed from the base where it gives parts of
 * them; all others are the base's, named again. `watch` waits for the save.
 */
export async function saveFedImage<Facts extends ImageFacts>(
  repository: Repository,
  session: BackupSession,
  feed: ImageFeed,
  base: BaseImage | undefined,
  options: KeepingOptions,
  watch: (save: Save) => Promise<unknown>,
): Promise<FedImage<Facts>> {
  const loaded = base?.loaded ?? (await loadContent(repository, base, options.signal));
  const { content, fingerprints, unknown } = loaded;
  const kept = new BitSet(content.length);
  for (let cell = 0; cell < content.length; cell++) kept.add(cell);
  let note: FedNote<Facts> | undefined;
  const save = saveFed(
    session,
    {
      ...feed,
      helps: base !== undefined,
      findBase: (cell, room) =>
        findCell(repository, base, { content, fingerprints }, cell, room, options.signal),
      spoiledBase: (cell, cause) => spoiled(base, content, cell, cause),
      onNote: (said) => {
        note = said as FedNote<Facts>;
      },
    },
    {
      ...options,
      onBlobs: ({ places, ids, fingerprints: own }) =>
        places.forEach((place, i) => {
          content.set(place, ids.subarray(i * 32, i * 32 + 32));
          fingerprints.set(place, fingerprintAt(own, i));
          kept.remove(place);
        }),
    },
  );
  await watch(save);
  if (note === undefined) throw new Error('the thread ended without a word');
  const { facts, freed } = note;
  if (facts.increment && base !== undefined && unknown > 0) {
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
    for (let cell = first; cell < end; cell++) {
      // ZFS says again what was free before: of an increment that is no change.
      if (facts.increment && kept.has(cell) && content.at(cell).equals(zero)) continue;
      freedCells++;
      content.set(cell, zero);
      fingerprints.set(cell, NO_FINGERPRINT);
      kept.remove(cell);
    }
  }
  // A full stream takes nothing over, and what was cut off is no part of the image.
  const cells = facts.increment ? Math.ceil(facts.bytes / CELL_BYTES) : 0;
  for (let cell = cells; cell < kept.capacity; cell++) kept.remove(cell);
  if (freedCells > 0) await session.saveData(new Uint8Array(CELL_BYTES));
  if (base !== undefined)
    await storeMarkedAgain(repository, session, idsOf(content, kept), base.name, options);
  const counters = save.counters();
  const touchedBytes = counters.fresh + counters.duplicate + counters.zero;
  const freedBytes = freedCells * CELL_BYTES;
  const keptBytes = facts.bytes - touchedBytes - freedBytes;
  return { facts, content, fingerprints, counters, keptBytes, freedBytes, kept };
}

async function loadContent(
  repository: Repository,
  base: BaseImage | undefined,
  signal: AbortSignal | undefined,
): Promise<BaseContent> {
  const content = new ContentList();
  const fingerprints = new FingerprintList();
  if (base === undefined) return { content, fingerprints, unknown: 0 };
  const reader = await VolumeReader.open(
    repository,
    base.snapshotId,
    await repository.loadSnapshot(base.snapshotId, signal),
    signal,
  );
  const addFingerprints = async (file: ContentFile): Promise<void> => {
    // Without them the backups to come hash; this one needs none.
    const known = await reader.loadFingerprints(file).catch(() => undefined);
    const first = file.position / CELL_BYTES;
    if (known !== undefined)
      file.content.forEach((_, i) => fingerprints.set(first + i, fingerprintAt(known, i)));
  };
  async function* segments(): AsyncGenerator<ContentFile> {
    for await (const file of reader.files()) {
      for (const id of file.content) content.set(content.length, toBytes(id));
      yield file;
    }
  }
  const walk = inFlight(segments(), SEGMENTS_AT_ONCE, addFingerprints);
  while ((await walk.next()).done !== true);
  signal?.throwIfAborted();
  let unknown = repository.index.missing('data', idsIn(content));
  const [first] = unknown;
  if (first !== undefined) {
    // A backup that ended since our index was read: loading a blob of it reads the index on.
    await repository.loadBlob('data', fromBytes(content.at(first))).catch(() => undefined);
    unknown = repository.index.missing('data', idsIn(content));
  }
  return { content, fingerprints, unknown: unknown.length };
}

/** Also those that are no ids: an increment onto them is refused, a full stream needs none. */
function* idsIn(content: ContentList): Generator<Uint8Array> {
  for (let cell = 0; cell < content.length; cell++) yield content.at(cell);
}

function* idsOf(content: ContentList, cells: BitSet): Generator<Uint8Array> {
  for (const cell of cells) yield content.at(cell);
}

/** A cell of the base, for whoever completes a new one from it; see CellFeed.findBase. */
async function findCell(
  repository: Repository,
  base: BaseImage | undefined,
  { content, fingerprints }: { readonly content: ContentList; readonly fingerprints: FingerprintList },
  cell: number,
  room: Uint8Array,
  signal?: AbortSignal,
): Promise<BaseCell> {
  const length = Math.min(CELL_BYTES, (base?.record.bytes ?? 0) - cell * CELL_BYTES);
  const id = content.at(cell);
  if (fromBytes(id) === zeroBlobId(length)) {
    room.fill(0, 0, length);
    return { form: 'plain', length };
  }
  const { sealed, uncompressedLength } = await repository.loadSealedBlob('data', fromBytes(id), room, signal);
  const sealedLength = sealed.length;
  return { form: 'sealed', length, sealedLength, uncompressedLength, id, fingerprint: fingerprints.at(cell) };
}

function spoiled(
  base: BaseImage | undefined,
  content: ContentList,
  cell: number,
  cause: unknown,
): DatamoverError {
  return new DatamoverError({
    operation: 'back up onto',
    subject: `${base?.name ?? 'no base'} at byte ${cell * CELL_BYTES}`,
    cause: `data blob ${shortId(fromBytes(content.at(cell)))}: ${describeCause(cause)}`,
    hint: 'read all of it (send a full stream, or --base none); check tells what else is damaged',
  });
}
