import { DatamoverError } from '../errors.ts';
import { listFiles, loadChecked, fileSubject } from '../repository/files.ts';
import { isId, toBytes } from '../repository/id.ts';
import { decodeIndexFile, type IndexFile } from '../repository/index-file.ts';
import { decodeKeyFile, type KeyFile } from '../repository/key-file.ts';
import { readLocks, type KnownLock } from '../repository/locks.ts';
import type { Repository } from '../repository/repository.ts';
import { decodeTree, type TreeNode } from '../repository/tree.ts';
import type { BlobLocation, Id, PackedBlob } from '../repository/types.ts';
import type { FileType } from '../store/store.ts';
import { listBackups } from './list.ts';
import { resolveBackup } from './select.ts';

/** Reads the objects of a repository one by one, for people who want to see what is really there. */

/** The ids of all files of a type; keys, index files and so on are a listing, packs a listing of the whole data folder. */
export async function listIds(repository: Repository, type: FileType): Promise<Id[]> {
  const listing = await listFiles(repository.store, [type]);
  return (listing.get(type) ?? []).map((file) => file.name).sort();
}

/** Finds the one file that an id or its beginning names. Throws a usage error that says how to do better. */
export async function resolveFile(repository: Repository, type: FileType, reference: string): Promise<Id> {
  if (isId(reference)) return reference;
  const noun = fileSubject(type, reference);
  const refuse = (cause: string, hint: string): DatamoverError =>
    new DatamoverError({ operation: 'find', subject: noun, cause, hint, kind: 'usage' });
  if (!/^[0-9a-f]+$/.test(reference)) throw refuse('that is not an id', 'ids are hexadecimal');
  const [found, ...others] = (await listIds(repository, type)).filter((id) => id.startsWith(reference));
  if (found === undefined) throw refuse('there is none whose id begins so', 'leave the id out to list them');
  if (others.length > 0) throw refuse(`${others.length + 1} ids begin so`, 'give more digits');
  return found;
}

export async function inspectIndex(repository: Repository, id: Id): Promise<IndexFile> {
  return decodeIndexFile(await repository.loadFile('index', id), fileSubject('index', id));
}

export async function inspectKey(repository: Repository, id: Id): Promise<KeyFile> {
  const subject = fileSubject('keys', id);
  return decodeKeyFile(await loadChecked(repository.store, 'keys', id), subject);
}

/** The blobs of a pack as its own header names them, whatever the index says. */
export async function inspectPack(
  repository: Repository,
  id: Id,
): Promise<{ size: number; blobs: PackedBlob[] }> {
  const { size } = await repository.store.stat({ type: 'data', name: id });
  return { size, blobs: await repository.loadPackHeader(id, size) };
}

export async function inspectLocks(repository: Repository): Promise<KnownLock[]> {
  const listing = await listFiles(repository.store, ['locks']);
  return (await readLocks(repository, listing.get('locks') ?? [])).known;
}

/** Where a blob lies and what it holds. The index must be loaded. */
export async function inspectBlob(
  repository: Repository,
  reference: string,
): Promise<{ location: BlobLocation; content: Uint8Array }> {
  const subject = `blob ${reference}`;
  if (!isId(reference)) {
    const hint = 'blobs are found by their whole id, 64 digits';
    throw new DatamoverError({ operation: 'find', subject, cause: 'that is not an id', hint, kind: 'usage' });
  }
  const raw = toBytes(reference);
  const location = repository.index.lookup('data', raw) ?? repository.index.lookup('tree', raw);
  if (location === undefined) {
    throw new DatamoverError({ operation: 'find', subject, cause: 'no index file names it', kind: 'usage' });
  }
  return { location, content: await repository.loadBlob(location.type, reference) };
}

/**
 * A tree by its own id, or as `SNAPSHOT[:PATH]`, as restic writes it: the folder at this path of the snapshot. The index must
 * be loaded.
 */
export async function inspectTree(
  repository: Repository,
  reference: string,
): Promise<{ id: Id; nodes: readonly TreeNode[] }> {
  const [snapshot = '', path = ''] = reference.split(':', 2);
  let id =
    isId(snapshot) && repository.index.lookup('tree', toBytes(snapshot)) !== undefined
      ? snapshot
      : resolveBackup(await listBackups(repository), snapshot).tree;
  for (const name of path.split('/').filter(Boolean)) {
    const node = (await readTree(repository, id)).find((entry) => entry.name === name);
    if (node?.subtree === undefined) {
      const cause = `there is no folder ${name} in it`;
      throw new DatamoverError({ operation: 'find tree', subject: reference, cause, kind: 'usage' });
    }
    id = node.subtree;
  }
  return { id, nodes: await readTree(repository, id) };
}

async function readTree(repository: Repository, id: Id): Promise<TreeNode[]> {
  return decodeTree(await repository.loadBlob('tree', id), `tree ${id.slice(0, 8)}`);
}
