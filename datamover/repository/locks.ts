import { DatamoverError, type FailureDetails } from '../errors.ts';
import type { FileInfo, Store } from '../store/store.ts';
import { fileSubject, listFiles, type RepositoryFiles } from './files.ts';
import {
  conflicts,
  decodeLock,
  describeLock,
  encodeLock,
  isOurs,
  isStale,
  newLock,
  STALE_AFTER_MS,
  type Lock,
  type LockMode,
} from './lock.ts';
import { epochMilliseconds } from './time.ts';
import type { Id } from './types.ts';

/** A lock file as it was met. */
export interface KnownLock {
  readonly id: Id;
  /** `undefined` where the file could not be read. */
  readonly lock: Lock | undefined;
  readonly stale: boolean;
  /** By the store's clock where it tells, else by the lock's own time. */
  readonly ageMs: number;
  readonly problem?: DatamoverError;
}

export interface LockContext {
  readonly store: Store;
  readonly files: RepositoryFiles;
}

/** `known` in `readLocks`, and whether a file of the listing was gone when it was to be read. */
export interface LocksRead {
  readonly known: KnownLock[];
  readonly vanished: boolean;
}

/**
 * Reads the lock files of a listing. `ownModified` is when the store took a file that was written a moment ago: with it, ages are
 * differences on the store's clock and wrong clocks of hosts play no part.
 */
export async function readLocks(
  { store, files }: LockContext,
  listed: readonly FileInfo[],
  ownModified?: Date,
): Promise<LocksRead> {
  const known: KnownLock[] = [];
  let vanished = false;
  for (const { name: id, modified } of listed) {
    const storeAge =
      modified === undefined ? undefined : (ownModified ?? new Date()).getTime() - modified.getTime();
    try {
      const lock = decodeLock(await files.load('locks', id), fileSubject('locks', id));
      const ageMs = storeAge ?? Date.now() - epochMilliseconds(lock.time);
      known.push({ id, lock, ageMs, stale: isStale(lock, ageMs) });
    } catch (error) {
      if (store.isMissing(error)) {
        vanished = true;
        continue;
      }
      if (!(error instanceof DatamoverError) || error.retryable) throw error;
      // Half-written by a crash, perhaps: it counts as a lock until it is old.
      const ageMs = storeAge ?? 0;
      known.push({ id, lock: undefined, ageMs, stale: ageMs > STALE_AFTER_MS, problem: error });
    }
  }
  return { known, vanished };
}

/** The error for somebody who is kept out; `undefined` where nobody is in the way. */
export function findConflict(
  others: readonly KnownLock[],
  wanted: LockMode,
  location: string,
): DatamoverError | undefined {
  for (const { lock, stale, problem } of others) {
    if (stale || (lock !== undefined && !conflicts(lock, wanted))) continue;
    return new LockedError({
      ours: lock !== undefined && isOurs(lock),
      operation:
        wanted === 'shared'
          ? 'lock repository'
          : `lock repository for ${wanted === 'sweep' ? 'sweeping' : 'one alone'}`,
      subject: location,
      cause:
        lock === undefined
          ? `a lock file is unreadable (${problem?.message ?? ''})`
          : `locked by ${describeLock(lock)}`,
      hint: 'try again when it has ended, or wait with --retry-lock 10m; `datamover unlock` removes locks whose process is gone',
    });
  }
  return undefined;
}

/** Somebody's lock is in the way. */
export class LockedError extends DatamoverError {
  /** Whether it is one of ours, which is either short or refreshed, and never forgotten. */
  readonly ours: boolean;

  constructor({ ours, ...details }: Omit<FailureDetails, 'kind' | 'retryable'> & { readonly ours: boolean }) {
    super({ ...details, kind: 'locked', retryable: true });
    this.ours = ours;
  }
}

export interface AcquiredLock {
  readonly handle: LockHandle;
  /** The locks of others, our dead ones not among them. */
  readonly others: readonly KnownLock[];
  /** What to add to our clock, in ms, for the store's; 0 where the store does not tell. */
  readonly storeClockAhead: number;
  /** Locks of ours whose processes had died, perhaps leaving packs that no index names. */
  readonly crashed: readonly KnownLock[];
  /** Index and snapshot files as listed after our lock was there. */
  readonly listing: ReadonlyMap<FileInfo['type'], readonly FileInfo[]>;
}

/**
 * Writes a lock, then looks: whoever comes at the same time sees ours or we see his. One listing, which brings the index and the
 * snapshots along; another one where a lock of it is gone before it is read.
 */
export async function acquireLock(
  context: LockContext,
  mode: LockMode,
  version: string,
  signal?: AbortSignal,
): Promise<AcquiredLock> {
  const { store, files } = context;
  const handle = await LockHandle.create(files, mode, version, signal);
  try {
    const { known, listing, storeClockAhead } = await look(context, handle, signal);
    const conflict = findConflict(known, mode, store.location);
    if (conflict !== undefined) throw conflict;
    const dead = known.filter(({ lock, stale }) => stale && lock !== undefined && isOurs(lock));
    // They are the mark by which the next backup knows that it should look for packs that were left (orphans.ts), so whoever
    // only reads leaves them. Who deletes deals with those packs himself.
    if (mode !== 'shared') for (const { id } of dead) await files.remove('locks', id);
    return {
      handle,
      others: known.filter((entry) => !dead.includes(entry)),
      crashed: dead,
      listing,
      storeClockAhead,
    };
  } catch (error) {
    // Where even that fails, the lock expires by itself; the first error is the one to tell.
    await handle.release(AbortSignal.timeout(RELEASE_WITHIN_MS)).catch(() => undefined);
    throw error;
  }
}

const RELEASE_WITHIN_MS = 20_000;

/** More than one listing is needed about once in a thousand times; so many in a row, and somebody plays with locks. */
const LOOKS = 10;

/**
 * The locks of others, and a listing that fits them. A lock that is gone before it is read was renewed under a name that the listing
 * lacks, or its holder has just written a snapshot that it lacks: either way a prune that went by that listing would delete too much.
 */
async function look(
  context: LockContext,
  handle: LockHandle,
  signal: AbortSignal | undefined,
): Promise<Pick<AcquiredLock, 'listing' | 'storeClockAhead'> & { readonly known: readonly KnownLock[] }> {
  for (let looks = 0; looks < LOOKS; looks++) {
    const listing = await listFiles(context.store, ['locks', 'index', 'snapshots'], signal);
    const listed = listing.get('locks') ?? [];
    const own = listed.find((file) => file.name === handle.id);
    const others = listed.filter((file) => file !== own);
    const { known, vanished } = await readLocks(context, others, own?.modified);
    const storeClockAhead = own?.modified === undefined ? 0 : own.modified.getTime() - handle.writtenAt;
    if (!vanished) return { known, listing, storeClockAhead };
  }
  throw new DatamoverError({
    operation: 'lock repository',
    subject: context.store.location,
    cause: `locks of others came and went ${LOOKS} times while they were read`,
    hint: 'try again in a while',
    kind: 'locked',
    retryable: true,
  });
}

/** Ours is written anew every five minutes; after 25 minutes without success others will soon think us dead. */
export const REFRESH_EVERY_MS = 5 * 60_000;
export const GIVE_UP_AFTER_MS = 25 * 60_000;
const RETRY_EVERY_MS = 30_000;
const TOO_LATE = 'it could not be refreshed for 25 minutes';

/** A lock that we hold: refreshed until `release`. */
export class LockHandle {
  readonly mode: LockMode;
  readonly #files: RepositoryFiles;
  readonly #version: string;
  readonly #started: string;
  readonly #lost = new AbortController();
  #id: Id;
  /** The lock file before `#id`: it stays for one turn, so that who listed it just before the renewal still finds a lock. */
  #previous: Id | undefined;
  /** By the clock of the day, which goes on while a machine sleeps, and by one that nobody sets. */
  #refreshedAt: Moment;
  #timer: NodeJS.Timeout | undefined;
  /** Ends writes that are under way, too, when the time is over. */
  #deadline: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> = Promise.resolve();

  private constructor(files: RepositoryFiles, mode: LockMode, version: string, id: Id, writtenAt: Moment) {
    this.#files = files;
    this.mode = mode;
    this.#version = version;
    this.#id = id;
    this.#refreshedAt = writtenAt;
    this.#started = new Date(writtenAt.date).toISOString();
    this.#schedule(REFRESH_EVERY_MS);
    this.#setDeadline();
  }

  static async create(
    files: RepositoryFiles,
    mode: LockMode,
    version: string,
    signal?: AbortSignal,
  ): Promise<LockHandle> {
    const startedAt = now();
    const id = await files.save('locks', encodeLock(newLock(mode, version)), signal);
    return new LockHandle(files, mode, version, id, startedAt);
  }

  /** When the present lock file was written, by our clock: before the store took it. */
  get writtenAt(): number {
    return this.#refreshedAt.date;
  }

  /** The present lock file; each refresh brings a new one. */
  get id(): Id {
    return this.#id;
  }

  /** Aborted, with the reason, once the lock is lost: nothing more may be written then. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Fails once the lock is lost. Called before every write. */
  assertHeld(): void {
    // A machine that slept runs no timers, so the clock is asked too.
    if (since(this.#refreshedAt) > GIVE_UP_AFTER_MS) this.#lose(TOO_LATE);
    this.#lost.signal.throwIfAborted();
  }

  /** Writes a lock file with the present time, then removes the one before the last. */
  async refresh(): Promise<void> {
    this.assertHeld();
    const startedAt = now();
    const lock = encodeLock(newLock(this.mode, this.#version, this.#started));
    const id = await this.#files.save('locks', lock, this.#lost.signal);
    const outdated = this.#previous;
    this.#previous = this.#id;
    this.#id = id;
    this.#refreshedAt = startedAt;
    this.#setDeadline();
    if (outdated !== undefined) await this.#files.remove('locks', outdated);
  }

  /** Removes the lock files. Harmless when repeated. */
  async release(signal?: AbortSignal): Promise<void> {
    clearTimeout(this.#timer);
    clearTimeout(this.#deadline);
    this.#timer = undefined;
    this.#lose('it was released');
    await this.#refreshing;
    if (this.#previous !== undefined) await this.#files.remove('locks', this.#previous, signal);
    await this.#files.remove('locks', this.#id, signal);
  }

  #schedule(delay: number): void {
    this.#timer = setTimeout(() => {
      this.#refreshing = this.#refreshOrLose();
    }, delay);
    this.#timer.unref();
  }

  #setDeadline(): void {
    clearTimeout(this.#deadline);
    if (this.#lost.signal.aborted) return;
    this.#deadline = setTimeout(() => this.#lose(TOO_LATE), GIVE_UP_AFTER_MS);
    this.#deadline.unref();
  }

  async #refreshOrLose(): Promise<void> {
    try {
      await this.refresh();
      if (!this.#lost.signal.aborted) this.#schedule(REFRESH_EVERY_MS);
    } catch (error) {
      // Not swallowed: whoever writes sees it through `signal` and `assertHeld` as soon as it matters.
      if (this.#lost.signal.aborted) return;
      if (since(this.#refreshedAt) > GIVE_UP_AFTER_MS) this.#lose(error);
      else this.#schedule(RETRY_EVERY_MS);
    }
  }

  #lose(cause: unknown): void {
    if (this.#lost.signal.aborted) return;
    this.#lost.abort(
      new DatamoverError({
        operation: 'keep lock',
        subject: fileSubject('locks', this.#id),
        cause,
        kind: 'locked',
      }),
    );
  }
}

interface Moment {
  readonly date: number;
  readonly steady: number;
}

function now(): Moment {
  return { date: Date.now(), steady: performance.now() };
}

/** Milliseconds since a moment; the larger where the clocks disagree. */
function since({ date, steady }: Moment): number {
  return Math.max(Date.now() - date, performance.now() - steady);
}
