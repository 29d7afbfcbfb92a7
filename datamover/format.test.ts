import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { encodeLock, type Lock } from './repository/lock.ts';
import { executeForget, planForgetNamed } from './repository/forget.ts';
import { executePrune, planPrune } from './repository/prune.ts';
import { Repository } from './repository/repository.ts';
import { decodeTree, type TreeNode } from './repository/tree.ts';
import type { Id, Pack } from './repository/types.ts';
import { MemoryStore } from './store/memory.ts';
import type { FileHandle, FileType, SaveOptions } from './store/store.ts';
import { decodeVolumeRecord } from './transfer/layout.ts';
import {
  backUpImage,
  inFolder,
  newRepository,
  PASSWORD,
  reopen,
  writeImage,
} from './transfer/testing/volumes.ts';

/** The rules of docs/format.md that no room can prove alone, and that every rule is proved somewhere. */

const CHECKOUT = new URL('../../', import.meta.url);
const QUICK = { kdf: { N: 16, r: 1, p: 1 } };
const MIB = 1024 * 1024;

test('every rule of docs/format.md stands there once and in the name of a test, and no test names another', () => {
  const text = readFileSync(new URL('docs/format.md', CHECKOUT), 'utf8');
  const rules = [...text.matchAll(/^- \*\*(F-\d\d)\*\* /gm)].map(([, rule]) => rule);
  expect(rules.length).toBeGreaterThan(40);
  expect(new Set(rules).size).toBe(rules.length);
  const named = new Set<string>();
  for (const room of ['datamover', 'e2e']) {
    const folder = new URL(`${room}/`, CHECKOUT).pathname;
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.test.ts')) continue;
      // Names begin with their rules: 'F-10 F-11 packs can be …'.
      const source = readFileSync(join(folder, file), 'utf8');
      for (const [, list = ''] of source.matchAll(/['"`]((?:F-\d\d )+)/g)) {
        for (const rule of list.trim().split(' ')) named.add(rule);
      }
    }
  }
  expect([...named].sort()).toEqual([...rules].sort());
});

/** Remembers what was written and removed, repetitions folded. */
class WatchedStore extends MemoryStore {
  readonly steps: string[] = [];

  #note(step: string): void {
    if (this.steps.at(-1) !== step) this.steps.push(step);
  }

  override async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    await super.save(file, content, options);
    this.#note(`save ${file.type}`);
  }

  override async remove(file: FileHandle): Promise<void> {
    await super.remove(file);
    this.#note(`remove ${file.type}`);
  }

  async names(type: FileType): Promise<Set<string>> {
    const found = new Set<string>();
    for await (const { name } of this.list([type])) found.add(name);
    return found;
  }
}

async function readNodes(repository: Repository, tree: Id): Promise<TreeNode[]> {
  return decodeTree(await repository.loadBlob('tree', tree), 'tree');
}

async function follow(
  repository: Repository,
  snapshot: Id | undefined,
  ...names: readonly string[]
): Promise<TreeNode> {
  let tree: Id | undefined = (await repository.loadSnapshot(snapshot ?? '')).tree;
  let node: TreeNode | undefined;
  for (const name of names) {
    node = (await readNodes(repository, tree ?? '')).find((one) => one.name === name);
    tree = node?.subtree;
  }
  if (node === undefined) throw new Error(`no ${names.join('/')}`);
  return node;
}

describe('a volume in a snapshot', () => {
  test('F-35 F-36 F-38 is an image in segments of 1 GiB and blobs of 1 MiB; what did not change is the same tree', async () => {
    await inFolder(async (folder) => {
      const [at, bytes] = [1024 * MIB - 5, 1026 * MIB + 7];
      const part = Buffer.alloc(MIB, 'across the border of two segments ');
      const path = await writeImage(join(folder, 'disk'), bytes, [{ offset: at, content: part }]);
      const repository = await newRepository(new MemoryStore(), QUICK);
      const first = await backUpImage(repository, path);
      const segments = [
        await follow(repository, first.snapshotId, 'image', '000000', 'data'),
        await follow(repository, first.snapshotId, 'image', '000001', 'data'),
      ];
      expect(segments.map((node) => [node.size, node.content?.length])).toEqual([
        [1024 * MIB, 1024],
        [2 * MIB + 7, 3],
      ]);
      const content = segments.flatMap((node) => node.content ?? []);
      expect(new Set(content.slice(0, 1023)).size).toBe(1);
      const cells = await Promise.all(content.slice(1023).map((id) => repository.loadBlob('data', id)));
      expect(cells.map((cell) => cell.length)).toEqual([MIB, MIB, MIB, 7]);
      const tail = Buffer.concat(cells);
      expect(tail.subarray(MIB - 5, 2 * MIB - 5).equals(part)).toBe(true);
      expect(tail.subarray(0, MIB - 5).every((byte) => byte === 0)).toBe(true);

      await writeImage(path, bytes, [{ offset: 1025 * MIB, content: Buffer.from('changed') }]);
      const second = await backUpImage(repository, path);
      const trees = async (id: Id | undefined): Promise<(Id | undefined)[]> => [
        (await follow(repository, id, 'image', '000000')).subtree,
        (await follow(repository, id, 'image', '000001')).subtree,
      ];
      const [before, after] = [await trees(first.snapshotId), await trees(second.snapshotId)];
      expect([before[0] === after[0], before[1] === after[1]]).toEqual([true, false]);
      const names = (
        await readNodes(repository, (await repository.loadSnapshot(second.snapshotId ?? '')).tree)
      ).map(({ name }) => name);
      expect(names).toEqual(['image', 'volume.json']);
      await repository.close();
    });
  });

  test('F-37 is refused where its record is of a later schema, and read where it has fields that we do not know', () => {
    const record = {
      schema: 1,
      volume: { namespace: 'a', name: 'b' },
      format: 'image',
      driver: 'rbd',
      bytes: 5,
      later: {},
    };
    expect(decodeVolumeRecord(Buffer.from(JSON.stringify(record)), 'ab'.repeat(32))).toMatchObject(record);
    expect(() =>
      decodeVolumeRecord(Buffer.from(JSON.stringify({ ...record, schema: 2 })), 'ab'.repeat(32)),
    ).toThrow('its schema is 2, this program knows 1 (use a newer datamover)');
  });
});

describe('removing', () => {
  interface Scene {
    readonly store: WatchedStore;
    /** Two backups of one volume: they share half of their blobs. */
    readonly snapshots: readonly (Id | undefined)[];
    readonly contents: readonly Buffer[];
  }

  async function twoBackups(): Promise<Scene> {
    const store = new WatchedStore();
    return inFolder(async (folder) => {
      const repository = await newRepository(store, QUICK);
      const [snapshots, contents]: [(Id | undefined)[], Buffer[]] = [[], []];
      for (const fill of ['first', 'second']) {
        const content = Buffer.concat([Buffer.alloc(2 * MIB, 'shared'), Buffer.alloc(2 * MIB, fill)]);
        const path = await writeImage(join(folder, 'disk'), content.length, [{ offset: 0, content }]);
        snapshots.push((await backUpImage(repository, path)).snapshotId);
        contents.push(content);
      }
      await repository.close();
      return { store, snapshots, contents };
    });
  }

  const fresh = (store: MemoryStore): Promise<Repository> => Repository.open(store, PASSWORD);

  async function forget(store: MemoryStore, ...ids: readonly (Id | undefined)[]): Promise<void> {
    const repository = await fresh(store);
    await repository.lock('sweep');
    await executeForget(repository, await planForgetNamed(repository, ids.map(String)));
    await repository.close();
  }

  async function prune(store: MemoryStore, graceMs: number): Promise<{ deleted: number; marked: number }> {
    const repository = await fresh(store);
    try {
      const job = await planPrune(repository, { graceMs, maxUnused: { bytes: 0 } });
      const { deletedPacks, markedPacks } = await executePrune(repository, job);
      return { deleted: deletedPacks, marked: markedPacks };
    } finally {
      await repository.close();
    }
  }

  async function whole(
    store: MemoryStore,
    snapshot: Id | undefined,
    content: Buffer | undefined,
  ): Promise<boolean> {
    const repository = await fresh(store);
    await repository.loadIndex();
    const file = await follow(repository, snapshot, 'image', '000000', 'data');
    const cells = await Promise.all((file.content ?? []).map((id) => repository.loadBlob('data', id)));
    return Buffer.concat(cells).equals(content ?? Buffer.alloc(0));
  }

  /** Every pack by what index files say of it. */
  async function indexed(store: MemoryStore): Promise<{ listed: Set<Id>; marked: Set<Id> }> {
    const repository = await fresh(store);
    const [listed, marked] = [new Set<Id>(), new Set<Id>()];
    const note = (set: Set<Id>, packs: readonly Pack[]): void => packs.forEach((pack) => set.add(pack.id));
    for await (const { file } of repository.indexFiles()) {
      note(listed, file.packs);
      note(marked, file.packsToDelete);
    }
    return { listed, marked };
  }

  test.each([0, 1])('F-30 backup %i goes, and the other is whole, before and after a prune', async (gone) => {
    const { store, snapshots, contents } = await twoBackups();
    await forget(store, snapshots[gone]);
    const other = 1 - gone;
    expect(await whole(store, snapshots[other], contents[other])).toBe(true);
    const packs = (await store.names('data')).size;
    expect((await prune(store, 0)).deleted).toBeGreaterThan(0);
    expect((await store.names('data')).size).toBeLessThan(packs + 2);
    expect(await whole(store, snapshots[other], contents[other])).toBe(true);
  });

  test('F-29 new packs come first, then their index, then old index files go, and packs last of all', async () => {
    const { store, snapshots } = await twoBackups();
    await forget(store, snapshots[0]);
    store.steps.length = 0;
    await prune(store, 0);
    const steps = store.steps.filter((step) => !step.endsWith('locks'));
    expect(steps).toEqual(['save data', 'save index', 'remove index', 'remove data']);
    const { listed } = await indexed(store);
    expect(listed).toEqual(await store.names('data'));
  });

  test('F-39 F-42 beside a backup that began before, packs are marked, stay listed and are not swept however short the grace', async () => {
    const { store, snapshots } = await twoBackups();
    await forget(store, ...snapshots);
    const running = await reopen(store);
    const before = await store.names('data');
    expect(await prune(store, 0)).toEqual({ deleted: 0, marked: before.size });
    expect(await prune(store, 0)).toMatchObject({ deleted: 0 });
    const { listed, marked } = await indexed(store);
    expect([listed, marked, await store.names('data')]).toEqual([before, before, before]);
    await running.close();
    expect((await prune(store, 24 * 3600_000)).deleted).toBe(before.size);
    expect((await store.names('data')).size).toBe(0);
  });

  test('F-42 nothing is swept or taken from the index beside a foreign lock', async () => {
    const { store, snapshots } = await twoBackups();
    await forget(store, ...snapshots);
    const repository = await fresh(store);
    const foreign: Lock = {
      time: new Date().toISOString(),
      exclusive: false,
      hostname: 'elsewhere',
      username: 'x',
      pid: 1,
    };
    const lock = await repository.files.save('locks', encodeLock(foreign));
    const before = await store.names('data');
    expect(await prune(store, 0)).toMatchObject({ deleted: 0 });
    expect(await prune(store, 0)).toMatchObject({ deleted: 0 });
    const { listed } = await indexed(store);
    expect([listed, await store.names('data')]).toEqual([before, before]);
    await repository.files.remove('locks', lock);
    expect((await prune(store, 0)).deleted).toBe(before.size);
  });

  test('F-42 what is used again loses its mark and stays', async () => {
    const { store, snapshots, contents } = await twoBackups();
    const kept = await fresh(store);
    const snapshot = await kept.loadSnapshot(snapshots[0] ?? '');
    await forget(store, ...snapshots);
    const running = await reopen(store);
    expect((await prune(store, 0)).marked).toBeGreaterThan(0);
    const again = await kept.saveFile('snapshots', Buffer.from(JSON.stringify(snapshot)));
    await running.close();
    await prune(store, 0);
    expect(await whole(store, again, contents[0])).toBe(true);
    expect((await indexed(store)).marked.size).toBe(0);
  });

  test('F-43 a pack that no index names stays while somebody is at work, and goes when nobody is', async () => {
    const { store } = await twoBackups();
    for (const name of await store.names('index')) await store.remove({ type: 'index', name });
    for (const name of await store.names('snapshots')) await store.remove({ type: 'snapshots', name });
    const before = await store.names('data');
    const running = await reopen(store);
    expect(await prune(store, 0)).toMatchObject({ deleted: 0 });
    expect(await store.names('data')).toEqual(before);
    await running.close();
    expect((await prune(store, 0)).deleted).toBe(before.size);
  });
});
