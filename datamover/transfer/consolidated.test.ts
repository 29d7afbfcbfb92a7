import { describe, expect, test } from '@jest/globals';
import { rewriteSnapshot } from '../repository/snapshot.ts';
import type { Id } from '../repository/types.ts';
import { Repository } from '../repository/repository.ts';
import type { Store } from '../store/store.ts';
import { fixtureBytes } from '../volumes/zfs/testing/fixtures.ts';
import { executeConsolidation, planConsolidation } from './consolidate.ts';
import { findMergedOf, forgetReplaced } from './consolidated.ts';
import { hour, newStore, send, snapshotCount, withRepository } from './testing/chains.ts';
import { inFolder, PASSWORD } from './testing/volumes.ts';

/** A chain of two streams; answers its last backup. */
async function chain(store: Store): Promise<Id> {
  return inFolder(async (folder) => {
    await send(store, folder, fixtureBytes('fs-full'), { time: hour(0) });
    const { snapshotId = '' } = await send(store, folder, fixtureBytes('fs-inc1'), { time: hour(1) });
    return snapshotId;
  });
}

async function consolidate(store: Store, id: Id): Promise<Id> {
  return withRepository(store, async (repository) => {
    const plan = await planConsolidation(repository, id);
    return (await executeConsolidation(repository, plan, { workers: 1 })).snapshotId;
  });
}

/** As another job that ended at this time would have saved it, which had looked at the same moment as ours. */
async function savedAgain(store: Store, merged: Id, ended: Date): Promise<Id> {
  return withRepository(store, async (repository) => {
    const snapshot = await repository.loadSnapshot(merged);
    const { summary } = snapshot;
    if (summary === undefined) throw new Error('a merged snapshot has a summary');
    return repository.saveSnapshot({ ...snapshot, summary: { ...summary, backup_end: ended.toISOString() } });
  });
}

async function remove(store: Store, id: Id): Promise<void> {
  await withRepository(store, (repository) => repository.removeFile('snapshots', id));
}

async function sweeping<T>(store: Store, job: (repository: Repository) => Promise<T>): Promise<T> {
  const repository = await Repository.open(store, PASSWORD);
  await repository.lock('sweep');
  try {
    return await job(repository);
  } finally {
    await repository.close();
  }
}

describe('a backup that was merged', () => {
  test('F-62 is found by the beginning of its id when it is gone, the newest where two jobs have merged it', async () => {
    const store = await newStore();
    const old = await chain(store);
    const merged = await consolidate(store, old);
    const [earlier, later] = [
      await savedAgain(store, merged, new Date(Date.UTC(2026, 0, 2))),
      await savedAgain(store, merged, new Date(Date.UTC(2126, 0, 2))),
    ];
    const find = (reference: string): Promise<Id | undefined> =>
      withRepository(store, (repository) => findMergedOf(repository, reference));
    expect(await find(old.slice(0, 8))).toBe(later);
    const { earlier: found } = await withRepository(store, (repository) =>
      planConsolidation(repository, old),
    );
    expect(found).toEqual({ merged: later, replaced: [old] });
    await remove(store, later);
    expect(await find(old)).toBe(merged);
    await remove(store, merged);
    expect(await find(old)).toBe(earlier);
    expect(await find(merged)).toBeUndefined();
    // A beginning that fits others that are gone as well means none of them.
    const other = `${old.slice(0, 8)}${'0'.repeat(56)}`;
    await withRepository(store, async (repository) => {
      const snapshot = await repository.loadSnapshot(earlier);
      await repository.saveSnapshot({ ...rewriteSnapshot(old, snapshot, {}), original: other });
    });
    await expect(find(old.slice(0, 8))).rejects.toThrow(
      `find snapshot ${old.slice(0, 8)}: 2 snapshots that were merged begin so (give more digits)`,
    );
    expect(await find(old.slice(0, 12))).toBe(earlier);
  }, 120_000);

  test('F-62 goes only while the merged one is there, else the error says what stays and what to do', async () => {
    const store = await newStore();
    const old = await chain(store);
    const merged = await consolidate(store, old);
    // A policy has come in between: nothing else holds the chain.
    await remove(store, merged);
    await expect(
      sweeping(store, (repository) => forgetReplaced(repository, { merged, replaced: [old] })),
    ).rejects.toThrow(
      `remove snapshot ${old.slice(0, 8)}: snapshot ${merged.slice(0, 8)}, into which it was merged, was removed meanwhile (it is whole and stays; consolidate it again, and see that no policy removes the merged one)`,
    );
    expect(await snapshotCount(store)).toBe(2);
    const again = await consolidate(store, old);
    const forget = (): Promise<readonly Id[]> =>
      sweeping(store, (repository) => forgetReplaced(repository, { merged: again, replaced: [old] }));
    expect(await forget()).toEqual([old]);
    // Whoever comes second has nothing left to do.
    expect(await forget()).toEqual([]);
    expect(await snapshotCount(store)).toBe(2);
  }, 120_000);
});
