import { DatamoverError } from '../errors.ts';
import type { FileInfo } from '../store/store.ts';
import { fileSubject, listFiles } from './files.ts';
import { toBytes } from './id.ts';
import { inFlight } from './in-flight.ts';
import { modeOf } from './lock.ts';
import { readLocks, type KnownLock } from './locks.ts';
import type { Repository } from './repository.ts';
import type { Id, Pack } from './types.ts';

export interface OrphansFound {
  /** Packs that are whole but were in no index file. They are now. */
  readonly adopted: readonly Id[];
  /** Files that are no packs: half-written ones. They stay for `prune`. */
  readonly unreadable: readonly { readonly id: Id; readonly problem: DatamoverError }[];
}

/**
 * Makes the packs known that a crashed backup stored but did not live to index, so that their blobs are not stored a second time.
 * Costs one listing of all packs, so it is done only where a dead lock of ours tells of a crash; these locks are removed when all
 * is done. We must hold a shared lock and have loaded the index since.
 *
 * A sweep may be at work beside us, and a pack that it has taken out of the index but not yet deleted looks like an orphan: then
 * nothing is adopted, and the dead locks stay for another time. Where none is at work after the index was loaded, all that was
 * swept before is gone, and who sweeps from now on finds only packs that are in our index.
 *
 * A pack's header is authenticated and its length must fit the file, but its blobs are not read: a pack is written whole or not
 * at all, and `check --read-data` looks at every byte.
 */
export async function adoptOrphans(
  repository: Repository,
  crashed: readonly KnownLock[],
  signal?: AbortSignal,
): Promise<OrphansFound> {
  const { store, index } = repository;
  // One listing for both: a pack that is swept between the two is gone when its header is asked for.
  const listing = await listFiles(store, ['data', 'locks'], signal);
  if (await isSwept(repository, listing.get('locks') ?? [])) return { adopted: [], unreadable: [] };
  const orphans = (listing.get('data') ?? []).filter((file) => !index.hasPack(toBytes(file.name)));
  const adopted: Id[] = [];
  const unreadable: { id: Id; problem: DatamoverError }[] = [];
  const read = async ({ name: id, size }: { name: Id; size: number }): Promise<Pack | undefined> => {
    try {
      return { id, blobs: await repository.loadPackHeader(id, size, signal) };
    } catch (error) {
      if (store.isMissing(error)) return undefined;
      if (!(error instanceof DatamoverError) || error.retryable || error.kind === 'cancelled') throw error;
      unreadable.push({
        id,
        problem: new DatamoverError({ operation: 'adopt', subject: fileSubject('data', id), cause: error }),
      });
      return undefined;
    }
  };
  for await (const pack of inFlight(orphans, store.concurrency, read)) {
    if (pack === undefined) continue;
    await repository.addPack(pack);
    adopted.push(pack.id);
  }
  await repository.flush();
  for (const { id } of crashed) await repository.files.remove('locks', id);
  return { adopted, unreadable };
}

async function isSwept(repository: Repository, listed: readonly FileInfo[]): Promise<boolean> {
  const { known } = await readLocks(repository, listed);
  return known.some(({ lock, stale }) => !stale && (lock === undefined || modeOf(lock) !== 'shared'));
}
