import { describe, expect, test } from '@jest/globals';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { executeCopy, planCopy } from '../repository/copy.ts';
import { noise, prose } from '../repository/testing/bytes.ts';
import { decodeTree, encodeTree, type TreeNode } from '../repository/tree.ts';
import { MemoryStore } from '../store/memory.ts';
import type { FileHandle, LoadOptions, Store } from '../store/store.ts';
import { StoreWrapper } from '../store/wrapper.ts';
import { imageFile, type BackupRequest } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import { FINGERPRINTS_FILE, SEGMENT_BYTES } from './layout.ts';
import { backUp, inFolder, newRepository, readBackup, reopen, writeImage } from './testing/volumes.ts';

const MIB = 1 << 20;
const WAYS = ['image', 'image-stream', 'stream'] as const;

async function save(
  store: Store,
  path: string,
  way: (typeof WAYS)[number],
  request: Partial<BackupRequest> = {},
): Promise<BackupSummary> {
  const repository = await reopen(store);
  const fd = openSync(path, 'r');
  try {
    const source = way === 'image' ? imageFile(path) : { kind: way, input: { kind: 'fd', fd } as const };
    return await backUp(repository, source, request);
  } finally {
    closeSync(fd);
    await repository.close();
  }
}

/** The folders of a backup's volume (segments or streams), which lie below its one folder. */
async function folders(store: Store, { snapshotId = '' }: BackupSummary): Promise<TreeNode[]> {
  const repository = await reopen(store);
  const load = async (id: string | undefined): Promise<TreeNode[]> =>
    decodeTree(await repository.loadBlob('tree', id ?? ''), 'tree');
  const root = await load((await repository.loadSnapshot(snapshotId)).tree);
  const found = await load(root.find(({ type }) => type === 'dir')?.subtree);
  const files = (await Promise.all(found.map(({ subtree }) => load(subtree)))).flat();
  await repository.close();
  return [...found, ...files];
}

/** A backup like this one, whose first blob is named by the id of another that is in the repository. */
async function nameWrongly(
  store: Store,
  { snapshotId = '' }: BackupSummary,
): Promise<{ forged: string; marker: string }> {
  const repository = await reopen(store);
  const load = async (id: string | undefined): Promise<TreeNode[]> =>
    decodeTree(await repository.loadBlob('tree', id ?? ''), 'tree');
  const snapshot = await repository.loadSnapshot(snapshotId);
  const session = repository.beginBackup();
  const marker = await session.saveData(noise('marker', MIB));
  const forge = async (nodes: readonly TreeNode[]): Promise<string> => {
    const changed = await Promise.all(
      nodes.map(async (node) => {
        if (node.type === 'dir') return { ...node, subtree: await forge(await load(node.subtree)) };
        const data = node.name === 'data' || node.name === 'send';
        return data ? { ...node, content: [marker, ...(node.content ?? []).slice(1)] } : node;
      }),
    );
    return session.saveTree(encodeTree(changed));
  };
  const tree = await forge(await load(snapshot.tree));
  await session.flush();
  const forged = await repository.saveSnapshot({ ...snapshot, tree });
  await repository.close();
  return { forged, marker };
}

async function newStore(): Promise<MemoryStore> {
  const store = new MemoryStore();
  await (await newRepository(store)).close();
  return store;
}

/** No pack can be read: neither what an earlier backup has nor anything else. */
class PacklessStore extends StoreWrapper {
  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    if (file.type === 'data') throw new Error('this pack is not to be had');
    return super.load(file, options);
  }
}

const content = Buffer.concat([
  noise(1, 3 * MIB),
  prose(2, 3 * MIB),
  Buffer.alloc(2 * MIB),
  noise(3, 4 * MIB),
]);

describe('F-54 F-55 what an earlier backup has', () => {
  test.each(WAYS)('gives the same trees as hashing everything: %s', async (way) => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const path = await writeImage(join(folder, 'image'), 13 * MIB + 77, [{ offset: 0, content }]);
      const first = await save(store, path, way);
      const same = await save(store, path, way);
      expect(same.newBytes).toBe(0);
      expect(same.storedBytes).toBeLessThan(4096);
      expect(await folders(store, same)).toEqual(await folders(store, first));
      await writeImage(path, 14 * MIB + 5, [
        { offset: 2 * MIB + 9, content: noise(4, 5) },
        { offset: 6 * MIB, content: noise(5, 10) },
        { offset: 8 * MIB, content: Buffer.alloc(2 * MIB) },
      ]);
      const beside = await save(store, path, way);
      const alone = await save(store, path, way, { parent: null });
      expect(beside.parent).toBe(same.snapshotId);
      expect(beside.newBytes).toBeGreaterThan(0);
      expect(alone.newBytes).toBe(0);
      const nodes = await folders(store, beside);
      expect(nodes).toEqual(await folders(store, alone));
      expect(nodes.some(({ name }) => name === FINGERPRINTS_FILE)).toBe(true);
    });
  });

  test('is read along with an image of many segments, only where there is data', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const parts = [0, 1, 2, 4, 5, 6, 7, 9].map((segment) => ({
        offset: segment * SEGMENT_BYTES + segment * 5 * MIB,
        content: noise(segment, 3 * MIB),
      }));
      const path = await writeImage(join(folder, 'image'), 10 * SEGMENT_BYTES, parts);
      const first = await save(store, path, 'image');
      await writeImage(path, 10 * SEGMENT_BYTES + 3 * MIB, [
        { offset: 6 * SEGMENT_BYTES, content: noise(99, 9) },
      ]);
      const beside = await save(store, path, 'image');
      expect(beside.parent).toBe(first.snapshotId);
      expect(beside.newBytes).toBe(MIB);
      expect(await folders(store, beside)).toEqual(
        await folders(store, await save(store, path, 'image', { parent: null })),
      );
    });
  });

  test.each(WAYS)('is believed: a blob is named as it stands there: %s', async (way) => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const path = await writeImage(join(folder, 'image'), content.length, [{ offset: 0, content }]);
      const first = await save(store, path, way);
      const { forged, marker } = await nameWrongly(store, first);
      const files = await folders(store, await save(store, path, way, { parent: forged }));
      const ids = files.find(({ name }) => name === 'data' || name === 'send')?.content ?? [];
      // Only a program that does not hash takes the marker for the first blob.
      expect(ids[0]).toBe(marker);
      expect(ids.filter((id) => id === marker).length).toBe(1);
    });
  });

  test.each(WAYS)('may be unreadable: then everything is hashed: %s', async (way) => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const path = await writeImage(join(folder, 'image'), content.length, [{ offset: 0, content }]);
      const first = await save(store, path, way);
      const again = await save(new PacklessStore(store), path, way, { parent: first.snapshotId ?? null });
      expect(again.newBytes).toBe(0);
      expect(await folders(store, again)).toEqual(await folders(store, first));
    });
  });

  test.each(WAYS)('means nothing in a repository with another key: %s', async (way) => {
    await inFolder(async (folder) => {
      const [store, other] = [await newStore(), await newStore()];
      const path = await writeImage(join(folder, 'image'), content.length, [{ offset: 0, content }]);
      await save(store, path, way);
      const [from, to] = [await reopen(store), await reopen(other)];
      const snapshots = [];
      for await (const one of from.snapshots()) snapshots.push(one);
      await executeCopy(from, to, await planCopy(from, to, snapshots));
      await from.close();
      await to.close();
      const copied = await save(other, path, way);
      const reader = await reopen(other);
      expect((await readBackup(reader, copied.snapshotId ?? '')).equals(content)).toBe(true);
      await reader.close();
      const again = await save(other, path, way);
      expect(again.newBytes).toBe(0);
      expect(await folders(other, again)).toEqual(await folders(other, copied));
    });
  });
});
