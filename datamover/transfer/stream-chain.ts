import { DatamoverError, describeCause } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { toBytes } from '../repository/id.ts';
import { inFlight } from '../repository/in-flight.ts';
import { decodeTree, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import type { ReadPlan } from '../volumes/driver.ts';
import type { StreamFacts } from '../volumes/zfs/stream-facts.ts';
import type { StreamRecord, VolumeRecord } from './layout.ts';
import { VolumeReader } from './volume-reader.ts';

/** A send stream of a chain, whose identity is known. */
export interface ChainStream extends StreamRecord {
  readonly zfs: NonNullable<StreamRecord['zfs']>;
}

/** The backup that an incremental stream may build on: its chain, and the folders that a new backup names again. */
export interface ChainBase {
  readonly snapshotId: Id;
  /** For messages: `backup 1a2b3c4d`. */
  readonly name: string;
  /** Empty where the backup holds no chain of send streams. */
  readonly streams: readonly ChainStream[];
  /** The folder of each stream. */
  readonly folders: readonly TreeNode[];
}

/** `/streams` has names of four digits. */
export const LONGEST_CHAIN = 10_000;

/** Trees of streams that are loaded at once: an increment's is small, that of a full stream may have 64 bytes for each blob. */
export const TREES_AT_ONCE = 8;

/** A restore receives one stream after the other; a month of daily backups is a chain that still restores in good time. */
const DEFAULT_INCREMENTS = 30;

/**
 * Why a chain is not to grow any more: then the newest snapshot is sent in full, and each earlier backup keeps the chain that
 * it has. All of the full stream is read, but blocks that an earlier stream had are not stored again (docs/adr/0015). Undefined
 * while the base's chain may grow, and where there is none.
 */
export async function endedChain(
  repository: Repository,
  { source, base }: Pick<ReadPlan, 'source' | 'base'>,
  maxIncrements = DEFAULT_INCREMENTS,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if (source.format !== 'stream' || base === undefined) return undefined;
  const chain = `the chain of backup ${base.snapshotId.slice(0, 8)}`;
  try {
    const { streams, folders } = await readChainBase(repository, base.snapshotId, signal);
    const increments = streams.length - 1;
    if (increments >= maxIncrements)
      return `${chain} has ${increments} increments, and a new one begins with ${maxIncrements}`;
    // Else each backup to come would read an increment, to be refused when all of it was read.
    const load = async (folder: TreeNode): Promise<readonly [string, readonly Id[]]> => [
      folder.name,
      dataOf(folder, await repository.loadBlob('tree', folder.subtree ?? '', signal)),
    ];
    for await (const [name, ids] of inFlight(folders, TREES_AT_ONCE, load)) {
      const missing = await countMissing(repository, ids, signal);
      if (missing > 0) return `${chain} is damaged: ${missing} blobs of its stream ${name} are missing`;
    }
    return undefined;
  } catch (error) {
    if (mayPass(error)) throw error;
    return `${chain} is damaged: ${describeCause(error)}`;
  }
}

/** What may pass by itself is no damage. */
function mayPass(error: unknown): boolean {
  return !(error instanceof DatamoverError) || error.retryable || error.kind === 'cancelled';
}

/** The data blobs of a stream's files, from the tree of its folder. */
export function dataOf({ subtree = '' }: TreeNode, tree: Uint8Array): readonly Id[] {
  return decodeTree(tree, `tree ${subtree.slice(0, 12)}`).flatMap(({ content = [] }) => content);
}

/** How many of these data blobs no index file names. */
export async function countMissing(
  repository: Repository,
  ids: readonly Id[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const isMissing = (id: Id): boolean => repository.index.lookup('data', toBytes(id)) === undefined;
  const first = ids.find(isMissing);
  if (first === undefined) return 0;
  // A backup that ended since our index was read: loading a blob of it reads the index on.
  await repository.loadBlob('data', first, signal).catch((error: unknown) => {
    if (mayPass(error) && isMissing(first)) throw error;
  });
  return ids.filter(isMissing).length;
}

/** What a backup offers to an increment. */
export async function readChainBase(
  repository: Repository,
  id: Id,
  signal?: AbortSignal,
): Promise<ChainBase> {
  const snapshot = await repository.loadSnapshot(id, signal);
  const reader = await VolumeReader.open(repository, id, snapshot, signal);
  const streams = chainOf(reader.record) ?? [];
  return {
    snapshotId: id,
    name: `backup ${id.slice(0, 8)}`,
    streams,
    folders: streams.length === 0 ? [] : await reader.streamFolders(),
  };
}

/**
 * The chain of send streams that a record tells of; undefined where it is an image, or a stream that nobody looked into.
 * @throws DatamoverError where its streams do not build on one another.
 */
export function chainOf(record: VolumeRecord): readonly ChainStream[] | undefined {
  if (record.format !== 'stream' || record.streams === undefined) return undefined;
  const chain = record.streams.filter((stream): stream is ChainStream => stream.zfs !== undefined);
  if (chain.length === 0) return undefined;
  const broken = chain.findIndex(({ zfs }, i) => zfs.fromGuid !== chain[i - 1]?.zfs.guid);
  if (chain.length !== record.streams.length || broken >= 0) {
    throw new DatamoverError({
      operation: 'read the chain of',
      subject: `${record.volume.namespace}/${record.volume.name}`,
      cause: `stream ${Math.max(0, broken)} does not build on the one before it`,
      hint: 'restore another backup of the volume',
      kind: 'incomplete',
    });
  }
  return chain;
}

/** Whether a volume lies as streams whose records were read, or as files that are its bytes. */
export function isChain({ format, streams = [] }: VolumeRecord): boolean {
  return format === 'stream' && streams.some(({ zfs }) => zfs !== undefined);
}

/** How many streams of the base a stream builds on: all up to its `fromGuid`, none for a full one; undefined where it does not fit. */
export function keptStreams(
  base: Pick<ChainBase, 'streams'> | undefined,
  fromGuid: string | undefined,
): number | undefined {
  if (fromGuid === undefined) return 0;
  const position = base?.streams.findLastIndex(({ zfs }) => zfs.guid === fromGuid) ?? -1;
  return position < 0 ? undefined : position + 1;
}

/** What `volume.json` says of a stream. */
export function describeStream(folder: string, bytes: number, facts: StreamFacts): ChainStream {
  const { guid, fromGuid, snapshot, content, createdSeconds, features } = facts;
  const created = new Date(createdSeconds * 1000);
  return {
    folder,
    bytes,
    zfs: {
      guid,
      ...(fromGuid !== undefined && { fromGuid }),
      snapshot,
      content,
      ...(!Number.isNaN(created.getTime()) && { created: created.toISOString() }),
      features,
    },
  };
}
