import { DatamoverError } from '../errors.ts';
import type { FileInfo, FileType, Store } from '../store/store.ts';
import { open, seal } from './crypto/cipher.ts';
import { isId, sha256, shortId } from './id.ts';
import { inFlight } from './in-flight.ts';
import type { Id, MasterKey } from './types.ts';
import { decodeUnpacked, encodeUnpacked } from './unpacked.ts';

/** The files of one JSON document each that the master key seals. */
export type DocumentType = Extract<FileType, 'index' | 'snapshots' | 'locks'>;

const NOUNS: Record<FileType, string> = {
  config: 'config',
  keys: 'key',
  locks: 'lock',
  snapshots: 'snapshot',
  index: 'index file',
  data: 'pack',
};

/** How errors name a file: `snapshot 1a2b3c4d`. */
export function fileSubject(type: FileType, name: string): string {
  return name === '' ? NOUNS[type] : `${NOUNS[type]} ${shortId(name)}`;
}

/** What happens to a file that cannot be read: a walk without such a function fails at the first one. */
export type OnProblem = (problem: DatamoverError, file: { readonly type: FileType; readonly id: Id }) => void;

export interface WalkOptions {
  /** Told of each file that cannot be read; without it the first one ends the walk. */
  readonly onProblem?: OnProblem | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Does something with one file of a walk; `undefined` where that failed and was told. */
export function attempt<T>(
  task: () => T,
  file: { readonly type: FileType; readonly id: Id },
  onProblem: OnProblem | undefined,
): T | undefined {
  try {
    return task();
  } catch (error) {
    // What may pass by itself is no damage: to go on without the file would be to believe that it is not there.
    const damage = error instanceof DatamoverError && !error.retryable && error.kind !== 'cancelled';
    if (onProblem === undefined || !damage) throw error;
    onProblem(error, file);
    return undefined;
  }
}

/** A file's bytes, checked against the SHA-256 that names it. */
export async function loadChecked(
  store: Store,
  type: FileType,
  id: Id,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = await store.load({ type, name: id }, { ...(signal && { signal }) });
  if (sha256(bytes) !== id) {
    throw new DatamoverError({
      operation: 'read',
      subject: fileSubject(type, id),
      cause: `its ${bytes.length} bytes do not have the SHA-256 that names it`,
      hint: 'the file was damaged or cut short in the store',
    });
  }
  return bytes;
}

/** Index, snapshot and lock files of a repository whose key is known. */
export class RepositoryFiles {
  readonly #store: Store;
  readonly #key: MasterKey;
  readonly #version: 1 | 2;

  constructor(store: Store, key: MasterKey, version: 1 | 2) {
    this.#store = store;
    this.#key = key;
    this.#version = version;
  }

  /** The JSON of a file: name, MAC and encoding are checked. */
  async load(type: DocumentType, id: Id, signal?: AbortSignal): Promise<Uint8Array> {
    const sealed = await loadChecked(this.#store, type, id, signal);
    const subject = fileSubject(type, id);
    return decodeUnpacked(open(this.#key, sealed, subject), subject);
  }

  /** Loads files in parallel, in no promised order; `json` is undefined for one that is gone. */
  async *loadAll(
    type: DocumentType,
    files: readonly FileInfo[],
    { onProblem, signal }: WalkOptions = {},
  ): AsyncGenerator<{ readonly id: Id; readonly json: Uint8Array | undefined }> {
    const load = async ({ name: id }: FileInfo): Promise<{ id: Id; json?: Uint8Array; error?: unknown }> => {
      try {
        return { id, json: await this.load(type, id, signal) };
      } catch (error) {
        return { id, error };
      }
    };
    const raise = (error: unknown): never => {
      throw error;
    };
    for await (const { id, json, error } of inFlight(files, this.#store.concurrency, load)) {
      if (error === undefined || this.#store.isMissing(error)) yield { id, json };
      else attempt(() => raise(error), { type, id }, onProblem);
    }
  }

  async save(type: DocumentType, json: Uint8Array, signal?: AbortSignal): Promise<Id> {
    const sealed = seal(this.#key, encodeUnpacked(json, this.#version));
    const name = sha256(sealed);
    await this.#store.save({ type, name }, sealed, { ...(signal && { signal }) });
    return name;
  }

  async remove(type: DocumentType, id: Id, signal?: AbortSignal): Promise<void> {
    await this.#store.remove({ type, name: id }, signal);
  }
}

/** A listing of several file types, taken in one go. Foreign names (temporary files of a store) are left out. */
export async function listFiles(
  store: Store,
  types: readonly FileType[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<FileType, readonly FileInfo[]>> {
  const listing = new Map<FileType, FileInfo[]>(types.map((type) => [type, []]));
  for await (const file of store.list(types, signal)) if (isId(file.name)) listing.get(file.type)?.push(file);
  return listing;
}
