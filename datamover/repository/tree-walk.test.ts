import { describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { TraceStore } from '../store/trace.ts';
import { sha256 } from './id.ts';
import type { Repository } from './repository.ts';
import { copyFiles } from './testing/crash-store.ts';
import { initSmall, openSmall, withLock } from './testing/small-repository.ts';
import { encodeTree, folderNode } from './tree.ts';
import { walkTrees, type TreePlace } from './tree-walk.ts';
import type { Id } from './types.ts';
import { findUsedBlobs } from './used-blobs.ts';

/** Saves a tree of folders: `width` folders in each, `depth` deep, each different by its names. */
async function saveFolders(repository: Repository, width: number, depth: number, name: string): Promise<Id> {
  const nodes = [];
  for (let i = 0; i < width && depth > 0; i++) {
    const path = `${name}-${i}`;
    nodes.push(folderNode(path, await saveFolders(repository, width, depth - 1, path)));
  }
  if (depth === 0) nodes.push({ name, type: 'file', size: 0, content: [] });
  return repository.saveBlob('tree', encodeTree(nodes));
}

async function make(
  roots: readonly (readonly [width: number, depth: number, name: string])[],
): Promise<{ store: Store; places: TreePlace[] }> {
  const store = await initSmall();
  const places = await withLock(store, 'shared', async (repository) => {
    await repository.loadIndex();
    const made: TreePlace[] = [];
    for (const [width, depth, name] of roots) {
      made.push({ id: await saveFolders(repository, width, depth, name), path: `${name}:/` });
    }
    await repository.flush();
    return made;
  });
  return { store, places };
}

async function walk(
  store: Store,
  places: readonly TreePlace[],
  signal?: AbortSignal,
): Promise<{ met: string[]; broken: string[] }> {
  const repository = await openSmall(store);
  await repository.loadIndex();
  const [met, broken]: [string[], string[]] = [[], []];
  await walkTrees(
    repository,
    places,
    {
      tree: ({ path }) => met.push(path),
      broken: ({ path }, error) => broken.push(`${path}: ${error.message}`),
    },
    signal === undefined ? {} : { signal },
  );
  return { met: met.sort(), broken };
}

test('each tree is visited once, with the path where it was met first', async () => {
  const { store, places } = await make([[3, 2, 'a']]);
  const { met, broken } = await walk(store, [
    ...places,
    ...places.map((place) => ({ ...place, path: 'again:/' })),
  ]);
  expect(met).toHaveLength(1 + 3 + 9);
  expect(met.filter((path) => path.startsWith('again'))).toEqual([]);
  expect(met).toContain('a:/a-1/a-1-2');
  expect(broken).toEqual([]);
});

test('neighbours in a pack come with one request', async () => {
  const { store, places } = await make([[200, 1, 'wide']]);
  let loads = 0;
  const traced = new TraceStore(store, (event) => {
    if (event.operation === 'load' && event.file?.type === 'data') loads++;
  });
  expect((await walk(traced, places)).met).toHaveLength(201);
  expect(loads).toBe(2);
});

test('no trees at all', async () => {
  const { store } = await make([]);
  expect(await walk(store, [])).toEqual({ met: [], broken: [] });
});

describe('what is broken', () => {
  test('a tree that no index names is told once; alone it does not keep the walk waiting', async () => {
    const { store, places } = await make([[2, 1, 'a']]);
    const lost = { id: sha256(Buffer.from('lost')), path: 'lost:/' };
    expect(await walk(store, [lost, lost])).toEqual({
      met: [],
      broken: [`lost:/: read tree ${lost.id.slice(0, 8)} (lost:/): no index file names it`],
    });
    expect((await walk(store, [lost, ...places])).met).toHaveLength(3);
  });

  test('of a pack that was cut short the trees before the cut are found', async () => {
    const { store, places } = await make([[100, 1, 'a']]);
    for await (const file of store.list(['data'])) {
      const bytes = await store.load(file);
      await store.save(file, bytes.subarray(0, Math.floor(bytes.length / 2)));
    }
    // The root was written last, so the walk is sent to its folders.
    const folders = Array.from({ length: 100 }, (_, i) => {
      const name = `a-${i}`;
      const id = sha256(encodeTree([{ name, type: 'file', size: 0, content: [] }]));
      return { id, path: name };
    });
    const { met, broken } = await walk(store, [...places, ...folders]);
    expect(met.length).toBeGreaterThan(20);
    expect(met.length + broken.length).toBe(101);
    expect(broken).toContainEqual(expect.stringMatching(/^a:\/: .*not within the file/));
  });

  test('a blob that is sealed well but is no tree', async () => {
    const store = await initSmall();
    const id = await withLock(store, 'shared', async (repository) => {
      await repository.loadIndex();
      const saved = await repository.saveBlob('tree', Buffer.from('{"nodes":[{"name":"..","type":"file"}]}'));
      await repository.flush();
      return saved;
    });
    expect((await walk(store, [{ id, path: 'x:/' }])).broken).toEqual([
      expect.stringMatching(/node 0 has a name/),
    ]);
  });

  test('a store that forbids is no damage: the walk ends with its error', async () => {
    const { store, places } = await make([[2, 1, 'a']]);
    const copy = new MemoryStore();
    await copyFiles(store, copy);
    const failing = new TraceStore(copy);
    failing.load = (file, options) => {
      if (file.type !== 'data') return copy.load(file, options);
      return Promise.reject(new DatamoverError({ operation: 'load', cause: 'timeout', retryable: true }));
    };
    await expect(walk(failing, places)).rejects.toThrow('timeout');
  });

  test('it can be stopped', async () => {
    const { store, places } = await make([[2, 1, 'a']]);
    await expect(walk(store, places, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });
});

test('findUsedBlobs: what a snapshot needs is in use, a broken tree too; what is missing is named', async () => {
  const { store, places } = await make([
    [3, 1, 'a'],
    [2, 1, 'b'],
  ]);
  const repository = await openSmall(store);
  await repository.loadIndex();
  const [a] = places;
  const lost = sha256(Buffer.from('lost'));
  const snapshot = (tree: Id): { id: Id; snapshot: { tree: Id } } => ({ id: tree, snapshot: { tree } });
  const { used, missing, missingCount } = await findUsedBlobs(repository, [
    snapshot(a?.id ?? ''),
    snapshot(lost),
  ]);
  expect([used.size, missingCount]).toEqual([4, 1]);
  expect(missing).toEqual([expect.stringContaining('no index file names it')]);
});
