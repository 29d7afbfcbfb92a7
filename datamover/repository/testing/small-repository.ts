import { MemoryStore } from '../../store/memory.ts';
import type { Store } from '../../store/store.ts';
import { checkRepository } from '../check.ts';
import type { CheckReport } from '../check-report.ts';
import { sha256 } from '../id.ts';
import { createKeyFile, encodeKeyFile } from '../key-file.ts';
import { Repository } from '../repository.ts';
import { encodeTree, fileNode, folderNode } from '../tree.ts';
import type { Id } from '../types.ts';
import { noise } from './bytes.ts';
import { copyFiles } from './crash-store.ts';
import { PASSWORD } from './restic.ts';

const prototypes = new Map<string, Promise<Store>>();

/** A new repository whose key costs a millisecond to open. Those of one kind in a test file share config and key. */
export async function initSmall(
  store: Store = new MemoryStore(),
  password = PASSWORD,
  version: 1 | 2 = 2,
): Promise<Store> {
  const kind = `${version} ${password}`;
  const prototype = prototypes.get(kind) ?? makePrototype(password, version);
  prototypes.set(kind, prototype);
  await copyFiles(await prototype, store);
  return store;
}

async function makePrototype(password: string, version: 1 | 2): Promise<Store> {
  const store = new MemoryStore();
  const { key, keyId } = await Repository.init(store, password, { version });
  const file = encodeKeyFile(await createKeyFile(key, password, {}, { N: 1024, r: 8, p: 1 }));
  await store.save({ type: 'keys', name: sha256(file) }, file);
  await store.remove({ type: 'keys', name: keyId });
  return store;
}

export async function openSmall(store: Store): Promise<Repository> {
  return Repository.open(store, PASSWORD);
}

/** Opens, locks, does something, and gives the lock back. */
export async function withLock<T>(
  store: Store,
  mode: 'shared' | 'sweep' | 'exclusive',
  task: (repository: Repository) => Promise<T>,
): Promise<T> {
  const repository = await openSmall(store);
  try {
    await repository.lock(mode);
    return await task(repository);
  } finally {
    await repository.close();
  }
}

/** 100 KiB that belong to this name. */
export function content(name: string): Buffer {
  return noise(name, 100 * 1024);
}

/**
 * Backs up a folder of files, each the content of its name; names that another backup has are deduplicated. All new blobs of one call lie
 * in one data pack and one tree pack, listed by one index file.
 */
export async function backUp(repository: Repository, time: string, names: readonly string[]): Promise<Id> {
  const nodes = [];
  for (const name of names) {
    const bytes = content(name);
    nodes.push(fileNode(name, bytes.length, [await repository.saveBlob('data', bytes)]));
  }
  const folder = await repository.saveBlob('tree', encodeTree(nodes));
  const tree = await repository.saveBlob('tree', encodeTree([folderNode('folder', folder)]));
  return repository.saveSnapshot({ time, tree, paths: ['/volume'], hostname: 'h' });
}

/** The names that a snapshot holds, each read back and compared. */
export async function readBack(store: Store, password = PASSWORD): Promise<Map<Id, string[]>> {
  const repository = await Repository.open(store, password);
  await repository.loadIndex();
  const found = new Map<Id, string[]>();
  for await (const { id, snapshot } of repository.snapshots()) {
    const names: string[] = [];
    const [folder] = await readTree(repository, snapshot.tree);
    for (const { name, content: blobs = [] } of await readTree(repository, folder?.subtree ?? '')) {
      const bytes = await Promise.all(blobs.map((blob) => repository.loadBlob('data', blob)));
      if (!Buffer.concat(bytes).equals(content(name))) throw new Error(`${name} did not come back as it was`);
      names.push(name);
    }
    found.set(id, names);
  }
  await repository.close();
  return found;
}

interface Entry {
  readonly name: string;
  readonly subtree?: Id;
  readonly content?: readonly Id[];
}

async function readTree(repository: Repository, id: Id): Promise<readonly Entry[]> {
  const tree = JSON.parse(Buffer.from(await repository.loadBlob('tree', id)).toString()) as {
    nodes: readonly Entry[];
  };
  return tree.nodes;
}

/** Our check with every byte read, without a lock. */
export async function checkAll(store: Store): Promise<CheckReport> {
  const repository = await openSmall(store);
  return checkRepository(repository, { readData: { kind: 'all' } });
}

export async function countFiles(
  store: Store,
  type: 'data' | 'index' | 'locks' | 'snapshots',
): Promise<number> {
  let count = 0;
  for await (const file of store.list([type])) if (file.type === type) count++;
  return count;
}

/** What a process that was killed leaves behind would be found stale by its pid; within one process it is taken away like this. */
export async function dropLocks(store: Store): Promise<void> {
  for await (const file of store.list(['locks'])) await store.remove(file);
}
