import { DatamoverError } from '../errors.ts';
import { inFlight } from './in-flight.ts';
import { indexDocuments } from './index-documents.ts';
import { isOurs, modeOf, type LockMode } from './lock.ts';
import type { KnownLock, LockHandle } from './locks.ts';
import { rewriteIndex, writeMarks } from './prune-index.ts';
import type { PruneJob, PruneRun } from './prune-job.ts';
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
  const { company, others, handle } = await (dryRun
    ? look(repository, signal)
    : lockForPrune(repository, signal));
  const { used, missing, missingCount } = await findUse(repository, signal);
  const usage = await measureUsage(repository.index, used, repository.store.list(['data'], signal), () =>
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
      oldestLock: oldestStart(others),
      now: Date.now(),
    },
    settings,
  );
  const indexFiles = usage.indexFiles.map((file) => file.id);
  return { plan, options: settings, lock: handle, packs: usage.packs, indexFiles, used };
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

/** When the first of these jobs began; a lock that does not say began before everything. */
function oldestStart(others: readonly KnownLock[]): number {
  const starts = others
    .filter((other) => !other.stale)
    .map(({ lock }) => {
      const at = epochMilliseconds(lock?.started ?? '');
      return Number.isNaN(at) ? -Infinity : at;
    });
  return Math.min(Infinity, ...starts);
}

/** A backup that ended while we took the listing may have left an index file that it does not show: then it is taken once more. */
async function findUse(repository: Repository, signal: AbortSignal | undefined): Promise<UsedBlobs> {
  const snapshots: { id: Id; snapshot: { tree: Id } }[] = [];
  for await (const { id, snapshot } of repository.snapshots({ ...(signal && { signal }) })) {
    snapshots.push({ id, snapshot: { tree: snapshot.tree } });
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
