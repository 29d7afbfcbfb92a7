import { DatamoverError } from '../errors.ts';
import type { BackupSession } from '../repository/backup-session.ts';
import { BitSet } from '../repository/bit-set.ts';
import { fromBytes, shortId } from '../repository/id.ts';
import { inFlight } from '../repository/in-flight.ts';
import type { Repository } from '../repository/repository.ts';
import type { BlobType, Id } from '../repository/types.ts';
import type { KeepingOptions } from './progress.ts';

/** Blobs in memory at once, each of a cell's size at most or of the largest cut of a stream. */
const BLOBS_AT_ONCE = 4;

/**
 * Stores those data blobs anew that a backup names again without having read them, and that lie in marked packs alone (F-15): once
 * their base is forgotten a prune sweeps them beside the backup, which began after the mark. All must be in the index. `baseName`
 * is for messages.
 */
export async function storeMarkedAgain(
  repository: Repository,
  session: BackupSession,
  ids: Iterable<Uint8Array>,
  baseName: string,
  { signal, onStoredAgain }: Pick<KeepingOptions, 'signal' | 'onStoredAgain'> = {},
): Promise<void> {
  const { index } = repository;
  // A blob counts as live only when its new pack is stored, so what is on its way has to be known here.
  let seen: BitSet | undefined;
  function* marked(): Generator<Id> {
    for (const id of ids) {
      if (index.isLive('data', id)) continue;
      seen ??= new BitSet(index.entryCount);
      if (seen.add(index.ordinal('data', id))) yield fromBytes(id);
    }
  }
  const store = async (id: Id): Promise<void> => {
    const blob = await loadKept(repository, 'data', id, baseName, signal);
    await session.saveData(blob);
    onStoredAgain?.(blob.length);
  };
  const walk = inFlight(marked(), BLOBS_AT_ONCE, store);
  while ((await walk.next()).done !== true);
}

/** A blob of the base that is to be stored anew, or to lead to others. */
export async function loadKept(
  repository: Repository,
  type: BlobType,
  id: Id,
  baseName: string,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await repository.loadBlob(type, id, signal);
  } catch (cause) {
    if (!repository.store.isMissing(cause)) throw cause;
    throw new DatamoverError({
      operation: 'back up onto',
      subject: baseName,
      cause: `a prune swept ${type} blob ${shortId(id)} of it before it was stored anew`,
      hint: 'back up again, with a full stream where you send it',
      retryable: true,
    });
  }
}
