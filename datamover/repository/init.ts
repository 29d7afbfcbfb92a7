import { DatamoverError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { encodeConfig, newConfig, NEWEST_VERSION } from './config.ts';
import { seal } from './crypto/cipher.ts';
import { DEFAULT_KDF, type KdfParameters } from './crypto/kdf.ts';
import { listFiles } from './files.ts';
import { newMasterKey, type KeyOwner } from './key-file.ts';
import { addKey, searchKey } from './keys.ts';
import type { Id, MasterKey, RepositoryConfig } from './types.ts';

export interface InitOptions {
  readonly version?: 1 | 2;
  /** Hex, of a repository with which this one shall share blobs. */
  readonly polynomial?: string;
  readonly owner?: KeyOwner;
  /** What trying a password costs. */
  readonly kdf?: KdfParameters;
  readonly signal?: AbortSignal;
}

/** What `init` will do, to be shown. */
export interface InitPlan {
  readonly action: 'init';
  readonly location: string;
  readonly config: RepositoryConfig;
  /** Key files of an init that was interrupted before it wrote its config. */
  readonly interruptedKeys: readonly Id[];
  readonly owner: KeyOwner;
  readonly kdf: KdfParameters;
}

/** Looks whether a repository may be made here: never over an existing one, nor over what is left of one. */
export async function planInit(store: Store, options: InitOptions = {}): Promise<InitPlan> {
  const { version = NEWEST_VERSION, polynomial, owner = {}, kdf = DEFAULT_KDF, signal } = options;
  await store.create(signal);
  const refuse = (cause: string, hint: string): DatamoverError =>
    new DatamoverError({ operation: 'init repository', subject: store.location, cause, hint });
  if (await exists(store, signal))
    throw refuse('there is a repository already', 'open it, or choose another place');
  const listing = await listFiles(store, ['keys', 'index', 'snapshots'], signal);
  const left = (type: 'keys' | 'index' | 'snapshots'): Id[] =>
    (listing.get(type) ?? []).map((file) => file.name);
  if (left('index').length + left('snapshots').length > 0) {
    throw refuse('there are backups but no config', 'the config file was lost: restore it from a copy');
  }
  return {
    action: 'init',
    location: store.location,
    config: newConfig(version, polynomial),
    interruptedKeys: left('keys'),
    owner,
    kdf,
  };
}

/** Writes the key, then the config: with the config the repository exists. Repeating it after an interruption is harmless. */
export async function executeInit(store: Store, plan: InitPlan, password: string): Promise<void> {
  if (password === '') {
    throw new DatamoverError({
      operation: 'init repository',
      subject: store.location,
      cause: 'the password is empty',
      kind: 'usage',
    });
  }
  const key = await masterKey(store, plan, password);
  if (await exists(store)) {
    throw new DatamoverError({
      operation: 'init repository',
      subject: store.location,
      cause: 'somebody else has just done it',
    });
  }
  await store.save({ type: 'config', name: '' }, seal(key, encodeConfig(plan.config)));
}

async function masterKey(store: Store, plan: InitPlan, password: string): Promise<MasterKey> {
  if (plan.interruptedKeys.length > 0) {
    // A second key file with another master key would confuse every reader, so the one there is taken up again.
    return (await searchKey(store, { ids: plan.interruptedKeys, password, fits: () => true })).master;
  }
  const key = newMasterKey();
  await addKey({ store, key, keyId: '' }, password, plan.owner, plan.kdf);
  return key;
}

async function exists(store: Store, signal?: AbortSignal): Promise<boolean> {
  try {
    await store.stat({ type: 'config', name: '' }, signal);
    return true;
  } catch (error) {
    if (store.isMissing(error)) return false;
    throw error;
  }
}
