import { DatamoverError } from '../errors.ts';
import { inFlight } from './in-flight.ts';
import { indexDocuments } from './index-documents.ts';
import { isOurs, modeOf, type LockMode } from './lock.ts';
import type { KnownLock, LockHandle } from './locks.ts';
import { rewriteIndex, writeMarks } from './prune-index.ts';
import type { PruneJob, PruneRun } from './prune-job.ts';
import { listPacks } from './pack-list.ts';
import { DEFAULT_PRUNE_OPTIONS, type PruneOptions } from './prune-options.ts';
import { decidePrune, type Company, type PrunePlan } from './prune-plan.ts';
import { repackBlobs } from './prune-repack.ts';
import { measureUsage } from './prune-usage.ts';
import type { Repository } from './repository.ts';
import { epochMilliseconds } from './time.ts';
import type { Id } from './types.ts';
import { findUsedBlobs, type UsedBlobs } from './used-blobs.ts';

export interface PlanPruneOptions extends Partial<PruneOptions> {
  /** Only look: with a shared lock, and nothing may be executed. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

export interface PruneResult {
  /** Files that are gone. */
  readonly deletedPacks: number;
  readonly markedPacks: number;
  /** Blobs that were copied into new packs. */
  readonly repackedBlobs: number;
  /** Packs that could not be repacked because something in them is damaged. They stay as they are. A sentence each. */
  readonly damaged: readonly string[];
}

/**
 * Locks the repository, finds what is in use and decides. The lock is as strong as the company allows (see `Company`). Fails with kind
 * `locked` where another prune or an exclusive lock is in the way.
 */
export async function planPrune(repository: Repository, options: PlanPruneOptions = {}): Promise<PruneJob> {
  const { dryRun = false, signal, ...given } = options;
  const settings: PruneOptions = { ...DEFAULT_PRUNE_OPTIONS, ...given };
  const { company, others, handle, storeClockAhead } = await (dryRun
    ? look(repository, signal)
    : lockForPrune(repository, signal));
  const { used, missing, missingCount } = await findUse(
    repository,
    await trustedSnapshots(repository, handle, signal),
    signal,
  );
  const usage = await measureUsage(repository.index, used, listPacks(repository.store, signal), () =>
    indexDocuments(repository, signal),
  );
  const unnamed = missingCount - missing.length;
  const plan = decidePrune(
    {
      packs: usage.packs,
      indexFiles: usage.indexFiles,
      obstacles: [
        ...missing,
        ...(unnamed > 0 ? [`and ${unnamed} more blobs are missing`] : []),
        ...usage.contradictions,
      ],
      company,
      oldestLock: oldestStart(others, Date.now() + storeClockAhead),
      now: Date.now() + storeClockAhead,
    },
    settings,
  );
  const indexFiles = usage.indexFiles.map((file) => file.id);
  return { plan, options: settings, lock: handle, storeClockAhead, packs: usage.packs, indexFiles, used };
}

/**
 * Does what the plan says, in the order that keeps the repository whole at every moment: new packs, their index, marks, the index without
 * the packs that go, and only then the packs. Stopped anywhere, the next prune does the rest.
 */
export async function executePrune(
  repository: Repository,
  job: PruneJob,
  run: PruneRun = {},
): Promise<PruneResult> {
  const { plan } = job;
  refuseObstacles(repository, plan);
  const repacked = await repackBlobs(repository, job, run);
  await repository.flush();
  const emptied = plan.repack.filter((id) => !repacked.damaged.has(id));
  const alone = plan.company === 'nobody';
  const marked = alone ? [] : [...plan.mark, ...emptied];
  await writeMarks(repository, job, new Set(marked), run);
  const removed = [...plan.remove, ...(alone ? emptied : [])];
  await rewriteIndex(repository, job, new Set([...removed, ...plan.vanished]), run);
  const doomed = [...removed, ...plan.orphans];
  await deletePacks(repository, job, doomed, run);
  return {
    deletedPacks: doomed.length,
    markedPacks: marked.length,
    repackedBlobs: repacked.blobs,
    damaged: [...repacked.damaged.values()],
  };
}

async function deletePacks(
  repository: Repository,
  job: PruneJob,
  ids: readonly Id[],
  run: PruneRun,
): Promise<void> {
  let done = 0;
  const remove = async (id: Id): Promise<number> => {
    run.signal?.throwIfAborted();
    await repository.removePack(id);
    return 1;
  };
  for await (const one of inFlight(ids, repository.store.concurrency, remove)) {
    done += one;
    run.onProgress?.({ step: 'delete', done, total: ids.length });
  }
}

function refuseObstacles(repository: Repository, plan: PrunePlan): void {
  const [first] = plan.obstacles;
  if (first === undefined) return;
  const more = plan.obstacles.length - 1;
  throw new DatamoverError({
    operation: 'prune',
    subject: repository.store.location,
    cause: more > 0 ? `${first}, and ${more} more problems` : first,
    hint: '`datamover check` names all of them; nothing is deleted until they are solved',
  });
}

interface Standing {
  readonly company: Company;
  readonly others: readonly KnownLock[];
  readonly handle: LockHandle;
  readonly storeClockAhead: number;
}

/** Alone if possible, else beside backups of ours, else beside anybody. */
async function lockForPrune(repository: Repository, signal: AbortSignal | undefined): Promise<Standing> {
  const attempts: readonly (readonly [LockMode, Company])[] = [
    ['exclusive', 'nobody'],
    ['sweep', 'own'],
  ];
  for (const [mode, company] of attempts) {
    try {
      return { ...(await repository.lock(mode, signal)), company };
    } catch (error) {
      if (!(error instanceof DatamoverError) || error.kind !== 'locked') throw error;
    }
  }
  const acquired = await repository.lock('shared', signal);
  if (!acquired.others.some(isSweep)) return { ...acquired, company: 'foreign' };
  await repository.close();
  throw new DatamoverError({
    operation: 'prune',
    subject: repository.store.location,
    cause: 'another prune is at work',
    kind: 'locked',
    retryable: true,
  });
}

/** For a dry run: what the company would be, with a lock that disturbs nobody. */
async function look(repository: Repository, signal: AbortSignal | undefined): Promise<Standing> {
  const acquired = await repository.lock('shared', signal);
  const live = acquired.others.filter((other) => !other.stale);
  const foreign = live.some(({ lock }) => lock === undefined || !isOurs(lock));
  return { ...acquired, company: foreign ? 'foreign' : live.length > 0 ? 'own' : 'nobody' };
}

function isSweep({ lock, stale }: KnownLock): boolean {
  return !stale && lock !== undefined && modeOf(lock) === 'sweep';
}

/**
 * When the first of these jobs began, by the store's clock; a lock that does not say began before everything. A host may have a wrong
 * clock: the time between the start and the last renewal is right by any clock, and of the two answers the earlier one counts.
 */
function oldestStart(others: readonly KnownLock[], now: number): number {
  const starts = others
    .filter((other) => !other.stale)
    .map(({ lock, ageMs }) => {
      const at = epochMilliseconds(lock?.started ?? '');
      const ran = epochMilliseconds(lock?.time ?? '') - at;
      return Number.isNaN(at) ? -Infinity : Math.min(at, now - ageMs - ran);
    });
  return Math.min(Infinity, ...starts);
}

/**
 * The snapshots that decide what is in use. What a listing does not show looks as if nobody needed its data, so a listing is not taken on
 * its word: it must show the lock that we have just written, and a second one must show all that the first one did.
 *
 * A snapshot that comes in between is left out: its backup holds (or held until now) a lock that keeps whatever it may refer to.
 */
async function trustedSnapshots(
  repository: Repository,
  lock: LockHandle,
  signal?: AbortSignal,
): Promise<readonly Id[]> {
  const distrust = (cause: string): DatamoverError =>
    new DatamoverError({
      operation: 'prune',
      subject: repository.store.location,
      cause,
      hint: 'nothing was changed; what a listing leaves out must not look like data that nobody needs',
      retryable: true,
    });
  const names = (type: 'locks' | 'snapshots'): Id[] => repository.listed(type).map((file) => file.name);
  if (!names('locks').includes(lock.id))
    throw distrust('the listing does not show our own lock, which was just written');
  const first = names('snapshots');
  await repository.relist(['index', 'snapshots'], signal);
  const second = new Set(names('snapshots'));
  const gone = first.filter((id) => !second.has(id));
  if (gone.length > 0)
    throw distrust(`${gone.length} snapshots were listed a moment ago and are not any more`);
  return first;
}

/** The index was listed after these snapshots, so it has all that they need; still, one more look costs less than a false alarm. */
async function findUse(
  repository: Repository,
  snapshotIds: readonly Id[],
  signal: AbortSignal | undefined,
): Promise<UsedBlobs> {
  const decisive = new Set(snapshotIds);
  const snapshots: { id: Id; snapshot: { tree: Id } }[] = [];
  for await (const { id, snapshot } of repository.snapshots({ ...(signal && { signal }) })) {
    if (decisive.delete(id)) snapshots.push({ id, snapshot: { tree: snapshot.tree } });
  }
  if (decisive.size > 0) {
    throw new DatamoverError({
      operation: 'prune',
      subject: repository.store.location,
      cause: `${decisive.size} snapshots were forgotten by somebody else meanwhile`,
      retryable: true,
    });
  }
  const find = async (): Promise<UsedBlobs> => {
    await repository.loadIndex({ ...(signal && { signal }) });
    return findUsedBlobs(repository, snapshots, signal);
  };
  const first = await find();
  if (first.missingCount === 0) return first;
  await repository.relist(['index'], signal);
  return find();
}
