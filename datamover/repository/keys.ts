import { DatamoverError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { DEFAULT_KDF, type KdfParameters } from './crypto/kdf.ts';
import { fileSubject, listFiles, loadChecked, type OnProblem } from './files.ts';
import { sha256, shortId } from './id.ts';
import {
  createKeyFile,
  decodeKeyFile,
  encodeKeyFile,
  openKeyFile,
  type KeyFile,
  type KeyOwner,
} from './key-file.ts';
import type { Id, MasterKey } from './types.ts';

export type { KeyOwner } from './key-file.ts';

/** A derivation costs a quarter of a second, of a foreign key more: nobody waits for a thousand of them because of one wrong password. */
export const MAX_KEYS_TRIED = 20;

export interface OpenedKey {
  readonly id: Id;
  readonly master: MasterKey;
}

export interface KeySearch {
  /** Key files, in any order. */
  readonly ids: readonly Id[];
  readonly password: string;
  /** The (start of the) id of the key to try first. */
  readonly hint?: string | undefined;
  /** Whether a key that opens belongs to this repository: it must open the config. */
  readonly fits: (master: MasterKey) => boolean;
  /** Called once, before the first derivation. */
  readonly onDerive?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Finds the key file that this password opens. Damaged key files are passed over, and named if no other one opens. */
export async function searchKey(store: Store, search: KeySearch): Promise<OpenedKey> {
  const { ids, password, hint, fits, signal } = search;
  let { onDerive } = search;
  const hinted = (id: Id): boolean => hint !== undefined && hint !== '' && id.startsWith(hint);
  const tried = [...ids]
    .sort((a, b) => Number(hinted(b)) - Number(hinted(a)) || (a < b ? -1 : 1))
    .slice(0, MAX_KEYS_TRIED);
  const problems: unknown[] = [];
  for (const id of tried) {
    signal?.throwIfAborted();
    const subject = fileSubject('keys', id);
    try {
      const file = decodeKeyFile(await loadChecked(store, 'keys', id, signal), subject);
      const begun = onDerive;
      onDerive = undefined;
      begun?.();
      const master = await openKeyFile(file, password, subject);
      if (master !== undefined && fits(master)) return { id, master };
      if (master !== undefined)
        throw new DatamoverError({ operation: 'use', subject, cause: 'it does not open the config' });
    } catch (error) {
      if (!store.isMissing(error)) problems.push(error);
    }
  }
  throw notOpened(store.location, ids.length, tried.length, problems);
}

function notOpened(
  location: string,
  known: number,
  tried: number,
  problems: readonly unknown[],
): DatamoverError {
  const operation = 'open repository';
  if (known === 0) {
    return new DatamoverError({
      operation,
      subject: location,
      cause: 'it has a config but not a single key file',
      hint: 'without a key file nothing in it can be read; restore one from a copy of the keys folder',
    });
  }
  if (problems.length === tried)
    return new DatamoverError({ operation, subject: location, cause: problems[0] });
  const damaged = problems.length === 0 ? '' : `, and ${problems.length} could not be read`;
  const rest = known > tried ? ` of the first ${tried} of ${known}` : known === 1 ? '' : ` of ${known}`;
  return new DatamoverError({
    operation,
    subject: location,
    cause: `wrong password: it opens none${rest} key files${damaged}`.replace(
      'none key files',
      'no key file',
    ),
    kind: 'wrong-password',
    ...(known > tried && { hint: 'name the right key with a key hint' }),
  });
}

/** What `key list` shows. */
export interface KeyEntry {
  readonly id: Id;
  readonly current: boolean;
  readonly file: Pick<KeyFile, 'created' | 'username' | 'hostname'>;
}

/** What the functions below need of an open repository. */
export interface KeyRing {
  readonly store: Store;
  readonly key: MasterKey;
  /** The key file that opened the repository. */
  readonly keyId: Id;
}

export async function listKeys({ store, keyId }: KeyRing, onProblem?: OnProblem): Promise<KeyEntry[]> {
  const entries: KeyEntry[] = [];
  for (const { name: id } of (await listFiles(store, ['keys'])).get('keys') ?? []) {
    try {
      const file = decodeKeyFile(await loadChecked(store, 'keys', id), fileSubject('keys', id));
      entries.push({ id, current: id === keyId, file });
    } catch (error) {
      if (store.isMissing(error)) continue;
      if (onProblem === undefined || !(error instanceof DatamoverError)) throw error;
      onProblem(error, { type: 'keys', id });
    }
  }
  return entries.sort((a, b) => (a.file.created < b.file.created ? -1 : 1));
}

/** Adds a password. The new key file is read back and opened before anybody relies on it. */
export async function addKey(
  { store, key }: KeyRing,
  password: string,
  owner: KeyOwner = {},
  kdf: KdfParameters = DEFAULT_KDF,
): Promise<Id> {
  if (password === '') {
    throw new DatamoverError({ operation: 'add key', cause: 'the password is empty', kind: 'usage' });
  }
  const bytes = encodeKeyFile(await createKeyFile(key, password, owner, kdf));
  const id = sha256(bytes);
  await store.save({ type: 'keys', name: id }, bytes);
  const again = decodeKeyFile(await loadChecked(store, 'keys', id), fileSubject('keys', id));
  if ((await openKeyFile(again, password, fileSubject('keys', id))) === undefined) {
    throw new DatamoverError({
      operation: 'add key',
      subject: id,
      cause: 'the stored key does not open again',
    });
  }
  return id;
}

/** Removing a key, to be shown and then done. */
export interface KeyRemovalPlan {
  readonly action: 'remove key';
  readonly id: Id;
  readonly remaining: number;
}

/** Refuses to remove the key in use and, with it, ever the last one. `prefix` is the start of an id that fits one key alone. */
export async function planKeyRemoval({ store, keyId }: KeyRing, prefix: string): Promise<KeyRemovalPlan> {
  const ids = ((await listFiles(store, ['keys'])).get('keys') ?? []).map((file) => file.name);
  const matches = prefix === '' ? [] : ids.filter((id) => id.startsWith(prefix));
  const [id] = matches;
  const refuse = (cause: string, hint?: string): DatamoverError =>
    new DatamoverError({
      operation: 'remove key',
      subject: prefix,
      cause,
      kind: 'usage',
      ...(hint !== undefined && { hint }),
    });
  if (id === undefined) throw refuse('there is no such key');
  if (matches.length > 1) throw refuse(`${matches.length} keys begin so`, 'give more digits');
  if (id === keyId) {
    throw refuse('it is the key in use', 'open the repository with another password to remove this one');
  }
  if (ids.length < 2) throw refuse('it is the last key', 'without it nobody could ever read the repository');
  return { action: 'remove key', id, remaining: ids.length - 1 };
}

export async function executeKeyRemoval(ring: KeyRing, plan: KeyRemovalPlan): Promise<void> {
  // The plan may be old: what it promised must still hold.
  await planKeyRemoval(ring, plan.id);
  await ring.store.remove({ type: 'keys', name: plan.id });
}

/** Replaces the password in use: the new key file is there before the old one goes. Returns the new key's id. */
export async function changePassword(ring: KeyRing, password: string, owner: KeyOwner = {}): Promise<Id> {
  const id = await addKey(ring, password, owner);
  await executeKeyRemoval({ ...ring, keyId: id }, { action: 'remove key', id: ring.keyId, remaining: 1 });
  return id;
}

/** `1a2b3c4d (root@node-3, 2026-11-20T...)` */
export function describeKey({ id, file }: KeyEntry): string {
  return `${shortId(id)} (${file.username}@${file.hostname}, ${file.created})`;
}
