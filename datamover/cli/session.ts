import { setTimeout as delay } from 'node:timers/promises';
import { DatamoverError, describeCause } from '../errors.ts';
import { executeInit, planInit, type InitPlan } from '../repository/init.ts';
import type { LockMode } from '../repository/lock.ts';
import { LockedError, type AcquiredLock } from '../repository/locks.ts';
import { Repository } from '../repository/repository.ts';
import type { Compression } from '../repository/types.ts';
import type { Store } from '../store/store.ts';
import { parseCompression } from './arguments.ts';
import { readNewPassword, readPassword, terminalPrompt } from './password.ts';
import {
  passwordSources,
  repositoryLocation,
  usage,
  type EnvironmentPrefix,
  type GlobalOptions,
} from './settings.ts';
import { openStoreAt } from './store-options.ts';
import type { Context } from './verb.ts';

export interface SessionOptions {
  /** The lock to hold while the job runs; `read` is a shared one that --no-lock goes without. */
  readonly lock: LockMode | 'read' | 'none';
  /** Waits for locks of ours as who reads or adds does, also to sweep: the end of a job that has already done its work. */
  readonly patient?: boolean;
  /** Whether the job needs to find blobs. */
  readonly index?: boolean;
  /** Standard input carries a volume, so nothing can be asked there. */
  readonly stdinIsData?: boolean;
  /** Called when the repository is there and the key is about to be derived: for what other processes can do meanwhile. */
  readonly meanwhile?: () => void;
  /** Called when the key is there. */
  readonly opened?: () => void;
}

export interface Session {
  readonly repository: Repository;
  /** Fires when the user stops the command, and when the lock is lost. */
  readonly signal: AbortSignal;
  readonly lock?: AcquiredLock;
}

/** The options that name a second repository, as restic's `copy` has them. */
export interface OtherRepository {
  readonly fromRepo?: string;
  readonly fromRepositoryFile?: string;
  readonly fromPasswordFile?: string;
  readonly fromPasswordCommand?: string;
}

const LOCK_RETRY_MS = 5000;
/** Our own prune works alone for a moment only: whoever reads or adds waits so long for it without being asked to. */
const OWN_LOCK_PATIENCE_MS = 60_000;
const OWN_LOCK_RETRY_MS = 1000;
/** After a failure or a stop: a store that is out of service would be asked again and again for a quarter of an hour. */
const UNLOCK_WITHIN_MS = 20_000;

/** Opens the repository that the options name, runs the job, and leaves everything closed and unlocked whatever happens. */
export async function withRepository<T>(
  context: Context,
  options: SessionOptions,
  job: (repository: Repository, session: Session) => Promise<T>,
): Promise<T> {
  const location = await repositoryLocation(context.options, context.env);
  return openAt(context, { ...options, location, options: context.options, prefix: 'RESTIC_' }, job);
}

/** The same for the second repository of `copy` and `init --copy-chunker-params`. It is only read. */
export async function withOtherRepository<T>(
  context: Context,
  other: OtherRepository,
  options: SessionOptions,
  job: (repository: Repository, session: Session) => Promise<T>,
): Promise<T> {
  const named: Pick<GlobalOptions, 'repo' | 'repositoryFile' | 'passwordFile' | 'passwordCommand'> = {
    ...(other.fromRepo === undefined ? {} : { repo: other.fromRepo }),
    ...(other.fromRepositoryFile === undefined ? {} : { repositoryFile: other.fromRepositoryFile }),
    ...(other.fromPasswordFile === undefined ? {} : { passwordFile: other.fromPasswordFile }),
    ...(other.fromPasswordCommand === undefined ? {} : { passwordCommand: other.fromPasswordCommand }),
  };
  const location = await repositoryLocation(named, context.env, 'RESTIC_FROM_');
  return openAt(context, { ...options, location, options: named, prefix: 'RESTIC_FROM_' }, job);
}

/** Makes a repository at the place that the options name. */
export async function createRepository(
  context: Context,
  options: { readonly version: 1 | 2; readonly polynomial?: string },
): Promise<InitPlan> {
  const { signal } = context.interrupt;
  const location = await repositoryLocation(context.options, context.env);
  const sources = passwordSources(context.options, context.env);
  return withStore(context, location, async (store) => {
    const plan = await planInit(store, { ...options, signal });
    await executeInit(store, plan, await readNewPassword(sources, terminalPrompt(), signal));
    return plan;
  });
}

export function compressionOf({ options, env }: Context): Compression {
  if (options.compression !== undefined) return options.compression;
  const text = env['RESTIC_COMPRESSION'];
  try {
    return text === undefined || text === '' ? 'auto' : parseCompression(text);
  } catch (error) {
    throw usage('read RESTIC_COMPRESSION', describeCause(error), text);
  }
}

interface Opening extends SessionOptions {
  readonly location: string;
  readonly options: Pick<GlobalOptions, 'passwordFile' | 'passwordCommand' | 'insecureNoPassword'>;
  readonly prefix: EnvironmentPrefix;
}

async function openAt<T>(
  context: Context,
  opening: Opening,
  job: (repository: Repository, session: Session) => Promise<T>,
): Promise<T> {
  const { env, interrupt } = context;
  const sources = passwordSources(opening.options, env, opening.prefix);
  return withStore(context, opening.location, async (store) => {
    const password = await readPassword(
      sources,
      opening.stdinIsData === true ? undefined : terminalPrompt(),
      interrupt.signal,
      `password for ${store.location}: `,
    );
    const keyHint = env[`${opening.prefix}KEY_HINT`];
    const repository = await Repository.open(store, password, {
      compression: compressionOf(context),
      signal: interrupt.signal,
      ...(opening.meanwhile && { onDerive: opening.meanwhile }),
      ...(keyHint === undefined || keyHint === '' ? {} : { keyHint }),
    });
    opening.opened?.();
    let done = false;
    try {
      const lock = await takeLock(context, repository, opening);
      const signal =
        lock === undefined ? interrupt.signal : AbortSignal.any([interrupt.signal, lock.handle.signal]);
      if (opening.index === true) await repository.loadIndex({ signal });
      const result = await job(repository, { repository, signal, ...(lock === undefined ? {} : { lock }) });
      done = true;
      return result;
    } finally {
      if (done) await repository.close();
      // What failed is what is told. A lock that cannot be removed now expires.
      else await repository.close(AbortSignal.timeout(UNLOCK_WITHIN_MS)).catch(() => undefined);
    }
  });
}

async function withStore<T>(
  context: Context,
  location: string,
  job: (store: Store) => Promise<T>,
): Promise<T> {
  const store = await openStoreAt(context, location);
  try {
    return await job(store);
  } finally {
    await store.close();
  }
}

/**
 * --retry-lock waits for a lock of somebody else; without it, whoever reads or adds waits a minute for one of ours. --no-lock does
 * without one where the job would only read.
 */
async function takeLock(
  { options, output, interrupt }: Context,
  repository: Repository,
  { lock: mode, patient = mode !== 'exclusive' && mode !== 'sweep' }: SessionOptions,
): Promise<AcquiredLock | undefined> {
  if (mode === 'none' || (mode === 'read' && options.lock === false)) return undefined;
  const started = Date.now();
  const patience = (error: DatamoverError): number => {
    if (options.retryLock !== undefined) return options.retryLock;
    return patient && error instanceof LockedError && error.ours ? OWN_LOCK_PATIENCE_MS : 0;
  };
  for (let told = false; ; told = true) {
    try {
      return await repository.lock(mode === 'read' ? 'shared' : mode, interrupt.signal);
    } catch (error) {
      if (!(error instanceof DatamoverError) || error.kind !== 'locked') throw error;
      const left = started + patience(error) - Date.now();
      if (left <= 0) throw error;
      if (!told) output.note(`waiting for the lock: ${error.message}`);
      const pause = options.retryLock === undefined ? OWN_LOCK_RETRY_MS : LOCK_RETRY_MS;
      await delay(Math.min(pause, left), undefined, { signal: interrupt.signal });
    }
  }
}
