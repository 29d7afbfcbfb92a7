import { DatamoverError } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import { fromBytes, toBytes } from '../repository/id.ts';
import { inFlight } from '../repository/in-flight.ts';
import type { Repository } from '../repository/repository.ts';
import {
  saveWatched,
  SIDE_PLACES,
  type BlobBatch,
  type Save,
  type SaveCounters,
  type StreamInput,
} from '../repository/saver/saver.ts';
import { encodeFileTree, encodeTree, fileNode, folderNode, type TreeNode } from '../repository/tree.ts';
import type { ChainFacts, StreamFacts } from '../volumes/zfs/stream-facts.ts';
import { ContentList } from './content-list.ts';
import { loadKept, storeMarkedAgain } from './kept-blobs.ts';
import { BLOCKS_FILE, RECORDS_FILE, streamFolder, STREAMS_FOLDER } from './layout.ts';
import type { KeepingOptions } from './progress.ts';
import {
  countMissing,
  dataOf,
  describeStream,
  keptStreams,
  LONGEST_CHAIN,
  TREES_AT_ONCE,
  type ChainBase,
  type ChainStream,
} from './stream-chain.ts';

export const SEND_SCRIPT = new URL('./send-thread.js', import.meta.url);

export interface SendThreadData {
  readonly base: ChainFacts | undefined;
}

/** What the thread tells of a stream that is whole. */
export interface SentStream {
  readonly facts: StreamFacts;
  /** Bytes of the file `records`; the rest of the stream is `blocks`. */
  readonly recordBytes: number;
}

/** What became of a send stream: a chain that is whole. */
export interface SavedChain {
  /** The kept streams of the base, then the new one. */
  readonly streams: readonly ChainStream[];
  /** The `streams` folder. */
  readonly folder: TreeNode;
  readonly counters: SaveCounters;
  /** Bytes of the kept streams: named again, not read. */
  readonly keptBytes: number;
}

/** The blobs of a stream's two files. */
class StreamContent {
  readonly records = new ContentList();
  readonly blocks = new ContentList();

  add({ places, ids }: BlobBatch): void {
    places.forEach((place, i) => {
      const id = ids.subarray(i * 32, i * 32 + 32);
      if (place < SIDE_PLACES) this.blocks.set(place, id);
      else this.records.set(place - SIDE_PLACES, id);
    });
  }

  /** The tree of the stream's folder. */
  encode(bytes: number, recordBytes: number): Uint8Array {
    const records = fileNode(RECORDS_FILE, recordBytes, [...this.records].map(fromBytes));
    return encodeFileTree(BLOCKS_FILE, bytes - recordBytes, this.blocks, [records]);
  }
}

/**
 * Saves a send stream as it is behind the streams that it builds on, which are named by the trees of the base. `watch` waits
 * for the save.
 */
export async function saveChain(
  repository: Repository,
  session: BackupSession,
  input: StreamInput,
  base: ChainBase | undefined,
  options: KeepingOptions,
  watch: (save: Save) => Promise<{ readonly bytes: number }>,
): Promise<SavedChain> {
  const content = new StreamContent();
  let sent: SentStream | undefined;
  const save = saveWatched(
    session,
    input,
    {
      script: SEND_SCRIPT,
      data: {
        base: base && {
          name: base.name,
          streams: base.streams.map(({ zfs: { guid, features } }) => ({ guid, features })),
        },
      } satisfies SendThreadData,
      onNote: (note) => {
        sent = note as SentStream;
      },
    },
    { ...options, onBlobs: (batch) => content.add(batch) },
  );
  const { bytes } = await watch(save);
  const kept = sent && keptStreams(base, sent.facts.fromGuid);
  if (sent === undefined || kept === undefined) throw new Error('the thread ended without a word');
  if (kept >= LONGEST_CHAIN) throw tooLong(base);
  if (base !== undefined && kept > 0) await keepStreams(repository, session, base, kept, options);
  const { facts, recordBytes } = sent;
  const name = streamFolder(kept, facts.guid);
  const file = await session.saveTree(content.encode(bytes, recordBytes));
  const folders = [...(base?.folders.slice(0, kept) ?? []), folderNode(name, file)];
  const streams = base?.streams.slice(0, kept) ?? [];
  return {
    streams: [...streams, describeStream(name, bytes, facts)],
    folder: folderNode(STREAMS_FOLDER, await session.saveTree(encodeTree(folders))),
    counters: save.counters(),
    keptBytes: streams.reduce((sum, stream) => sum + stream.bytes, 0),
  };
}

/**
 * Streams are named again without reading them: their blobs must at least be in the index. Those that prune has marked, trees too,
 * are stored anew.
 */
export async function keepStreams(
  repository: Repository,
  session: BackupSession,
  base: ChainBase,
  kept: number,
  options: KeepingOptions,
): Promise<void> {
  const { signal } = options;
  const load = async (folder: TreeNode): Promise<readonly [TreeNode, Uint8Array]> => [
    folder,
    await loadKept(repository, 'tree', folder.subtree ?? '', base.name, signal),
  ];
  for await (const [folder, tree] of inFlight(base.folders.slice(0, kept), TREES_AT_ONCE, load)) {
    const ids = dataOf(folder, tree);
    const missing = await countMissing(repository, ids, signal);
    if (missing > 0) throw damagedBase(base, folder.name, missing);
    await storeMarkedAgain(repository, session, ids.map(toBytes), base.name, options);
    await session.saveTree(tree);
  }
}

function damagedBase({ name }: ChainBase, stream: string, missing: number): DatamoverError {
  return new DatamoverError({
    operation: 'back up onto',
    subject: name,
    cause: `${missing} blobs of its stream ${stream} are missing in the repository`,
    hint: 'send a full stream; check tells what else is damaged',
  });
}

function tooLong(base: ChainBase | undefined): DatamoverError {
  return new DatamoverError({
    operation: 'back up onto',
    subject: base?.name ?? 'nothing',
    cause: `its chain has ${LONGEST_CHAIN} streams already`,
    hint: 'send a full stream',
  });
}
