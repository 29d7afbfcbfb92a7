import { DatamoverError } from '../errors.ts';
import { executeForget, planForgetNamed } from '../repository/forget.ts';
import { shortId, toBytes } from '../repository/id.ts';
import type { Repository } from '../repository/repository.ts';
import type { Snapshot } from '../repository/snapshot.ts';
import type { Id } from '../repository/types.ts';
import { newestFirst, type EarlierBackup } from './base-backups.ts';
import { chainOf, type ChainStream } from './stream-chain.ts';
import { VolumeReader, type StreamFiles } from './volume-reader.ts';

/** A chain that was merged. */
export interface Consolidated {
  readonly merged: Id;
  /** The snapshots that it was made of, and takes the place of: they can go. */
  readonly replaced: readonly Id[];
}

interface ChainSnapshot {
  readonly id: Id;
  readonly snapshot: Snapshot;
  readonly streams: readonly ChainStream[];
}

/**
 * Looks, beside a backup of a chain, for the one that it was merged into, or was made of. Both are of one line (restic's
 * `original`), bear the same time, host, tags and paths, and their chains end with the same snapshot of ZFS: one that was tagged
 * anew is another. A merged one of which a blob is missing is none; of several the newest counts, on which the next backup builds.
 */
export async function findConsolidated(
  repository: Repository,
  of: ChainSnapshot,
  signal?: AbortSignal,
): Promise<Consolidated | undefined> {
  const line = [of];
  const walk = { onProblem: () => undefined, ...(signal && { signal }) };
  for await (const { id, snapshot } of repository.snapshots(walk)) {
    signal?.throwIfAborted();
    if (id === of.id || lineOf({ id, snapshot }) !== lineOf(of) || !isAlike(snapshot, of.snapshot)) continue;
    const streams = await chainIn(repository, id, snapshot, signal);
    if (streams !== undefined) line.push({ id, snapshot, streams });
  }
  signal?.throwIfAborted();
  const guid = of.streams.at(-1)?.zfs.guid;
  const same = line.filter(({ streams }) => streams.at(-1)?.zfs.guid === guid);
  const replaced = same.filter(({ streams }) => streams.length > 1).map(({ id }) => id);
  if (replaced.length === 0) return undefined;
  for (const { id, snapshot, streams } of same.toSorted(newestFirst)) {
    if (streams.length > 1 || streams[0]?.zfs.merged === undefined) continue;
    if (await isWhole(repository, id, snapshot, signal)) return { merged: id, replaced };
  }
  return undefined;
}

/**
 * The chain that a snapshot was merged into which is gone, by a beginning of its id: the newest where two jobs have made one each.
 * Undefined where there is none.
 * @throws DatamoverError where several snapshots that are gone begin so.
 */
export async function findMergedOf(
  repository: Repository,
  reference: string,
  signal?: AbortSignal,
): Promise<Id | undefined> {
  const found: EarlierBackup[] = [];
  const walk = { onProblem: () => undefined, ...(signal && { signal }) };
  for await (const { id, snapshot } of repository.snapshots(walk)) {
    signal?.throwIfAborted();
    if (snapshot.original?.startsWith(reference) !== true) continue;
    const streams = await chainIn(repository, id, snapshot, signal);
    const isMerged = streams?.length === 1 && streams[0]?.zfs.merged !== undefined;
    if (isMerged && (await isWhole(repository, id, snapshot, signal))) found.push({ id, snapshot });
  }
  signal?.throwIfAborted();
  const lines = new Set(found.map(lineOf));
  if (lines.size > 1) {
    throw new DatamoverError({
      operation: 'find snapshot',
      subject: reference,
      cause: `${lines.size} snapshots that were merged begin so`,
      hint: 'give more digits',
      kind: 'usage',
    });
  }
  return found.toSorted(newestFirst)[0]?.id;
}

/**
 * Removes the snapshots that a merged one takes the place of; answers those that were still there. The repository must be locked
 * (`sweep` or `exclusive`), as forget wants it.
 * @throws DatamoverError where the merged one is gone, and with it what could take their place.
 */
export async function forgetReplaced(
  repository: Repository,
  { merged, replaced }: Consolidated,
  signal?: AbortSignal,
): Promise<readonly Id[]> {
  try {
    await repository.loadSnapshot(merged, signal);
  } catch (cause) {
    if (!repository.store.isMissing(cause)) throw cause;
    throw new DatamoverError({
      operation: 'remove snapshot',
      subject: replaced.map(shortId).join(', '),
      cause: `snapshot ${shortId(merged)}, into which it was merged, was removed meanwhile`,
      hint: 'it is whole and stays; consolidate it again, and see that no policy removes the merged one',
    });
  }
  // Another job that merged the same chain may have come first.
  const there = new Set(repository.listed('snapshots').map(({ name }) => name));
  const plan = await planForgetNamed(
    repository,
    replaced.filter((id) => there.has(id)),
  );
  const { removed } = await executeForget(repository, plan, { ...(signal && { signal }) });
  return removed;
}

function lineOf({ id, snapshot: { original } }: Pick<ChainSnapshot, 'id' | 'snapshot'>): Id {
  return original ?? id;
}

function isAlike(one: Snapshot, other: Snapshot): boolean {
  const facts = ({ time, hostname, tags = [], paths }: Snapshot): string =>
    JSON.stringify([time, hostname, tags.toSorted(), paths]);
  return facts(one) === facts(other);
}

/** Undefined of what is no chain, or cannot be read. */
async function chainIn(
  repository: Repository,
  id: Id,
  snapshot: Snapshot,
  signal?: AbortSignal,
): Promise<readonly ChainStream[] | undefined> {
  try {
    return chainOf((await VolumeReader.open(repository, id, snapshot, signal)).record);
  } catch {
    return undefined;
  }
}

/** Whether all blobs of its one stream are in the index. */
async function isWhole(
  repository: Repository,
  id: Id,
  snapshot: Snapshot,
  signal?: AbortSignal,
): Promise<boolean> {
  const files = await VolumeReader.open(repository, id, snapshot, signal)
    .then((reader) => reader.stream(0))
    .catch(() => undefined);
  return (
    files?.kind === 'apart' &&
    blobsOf(files).every((blob) => repository.index.lookup('data', toBytes(blob)) !== undefined)
  );
}

function blobsOf({ records, blocks }: Extract<StreamFiles, { kind: 'apart' }>): Id[] {
  return [...records.content, ...blocks.content];
}
