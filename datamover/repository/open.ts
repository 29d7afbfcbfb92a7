import { DatamoverError } from '../errors.ts';
import type { FileInfo, FileType, Store } from '../store/store.ts';
import { decodeConfig } from './config.ts';
import { isAuthentic, openUnchecked, SEAL_OVERHEAD } from './crypto/cipher.ts';
import { listFiles } from './files.ts';
import { searchKey, type OpenedKey } from './keys.ts';
import type { RepositoryConfig } from './types.ts';

export interface Opened {
  readonly config: RepositoryConfig;
  readonly key: OpenedKey;
  /** Keys, locks, index and snapshots, as listed once. */
  readonly listing: ReadonlyMap<FileType, readonly FileInfo[]>;
}

export interface OpeningOptions {
  /** The start of the id of the key file to try first. */
  readonly keyHint?: string;
  /** See KeySearch. */
  readonly onDerive?: () => void;
  readonly signal?: AbortSignal;
}

/** One GET (config), one LIST, one GET per key file tried. */
export async function openRepository(
  store: Store,
  password: string,
  { keyHint, onDerive, signal }: OpeningOptions = {},
): Promise<Opened> {
  const sealed = await loadConfig(store, signal);
  const listing = await listFiles(store, ['keys', 'locks', 'index', 'snapshots'], signal);
  const key = await searchKey(store, {
    ids: (listing.get('keys') ?? []).map((file) => file.name),
    password,
    hint: keyHint,
    fits: (master) => isAuthentic(master, sealed),
    onDerive,
    signal,
  });
  const config = decodeConfig(openUnchecked(key.master, sealed), `config of ${store.location}`);
  return { config, key, listing };
}

async function loadConfig(store: Store, signal?: AbortSignal): Promise<Uint8Array> {
  let sealed: Uint8Array;
  try {
    sealed = await store.load({ type: 'config', name: '' }, { ...(signal && { signal }) });
  } catch (error) {
    if (!store.isMissing(error)) throw error;
    throw new DatamoverError({
      operation: 'open repository',
      subject: store.location,
      cause: 'there is no repository here: no config file',
      hint: '`datamover init` makes one',
      kind: 'no-repository',
    });
  }
  if (sealed.length > SEAL_OVERHEAD) return sealed;
  throw new DatamoverError({
    operation: 'open repository',
    subject: store.location,
    cause: `its config file is damaged: it has ${sealed.length} bytes`,
    hint: 'restore the config file from a copy',
  });
}
