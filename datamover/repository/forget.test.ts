import { beforeAll, describe, expect, test } from '@jest/globals';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { executeForget, planForget, planForgetNamed } from './forget.ts';
import { executePrune, planPrune } from './prune.ts';
import { copyFiles, CrashStore } from './testing/crash-store.ts';
import {
  backUp,
  checkAll,
  countFiles,
  initSmall,
  openSmall,
  readBack,
  withLock,
} from './testing/small-repository.ts';
import type { Id } from './types.ts';

let base: Store;
const ids: Id[] = [];

beforeAll(async () => {
  base = await initSmall();
  await withLock(base, 'shared', async (repository) => {
    await repository.loadIndex();
    ids.push(await backUp(repository, '2024-01-01T00:00:00Z', ['a', 'b']));
    ids.push(await backUp(repository, '2024-01-02T00:00:00Z', ['b', 'c']));
    ids.push(await backUp(repository, '2024-01-03T00:00:00Z', ['c', 'a']));
  });
});

async function fresh(): Promise<Store> {
  const store = new MemoryStore();
  await copyFiles(base, store);
  return store;
}

async function forgetNamed(store: Store, names: readonly string[]): Promise<readonly Id[]> {
  return withLock(store, 'sweep', async (repository) => {
    const { removed } = await executeForget(repository, await planForgetNamed(repository, names));
    return removed;
  });
}

test('a policy removes what it does not keep', async () => {
  const store = await fresh();
  await withLock(store, 'sweep', async (repository) => {
    const plan = await planForget(repository, { policy: { last: 1 } });
    expect(plan.groups).toMatchObject([
      {
        key: { host: 'h', paths: ['/volume'] },
        keep: [{ snapshot: { id: ids[2] }, reasons: ['last snapshot'] }],
      },
    ]);
    expect(plan.groups[0]?.remove.map(({ id }) => id)).toEqual([ids[1], ids[0]]);
    expect(await countFiles(store, 'snapshots')).toBe(3);
    await executeForget(repository, plan);
  });
  expect([...(await readBack(store)).keys()]).toEqual([ids[2]]);
});

test('F-30 any backup may go, in any order, and the others are whole', async () => {
  for (const order of [
    [0, 1],
    [1, 0],
    [2, 0],
    [0, 2],
    [1, 2],
    [2, 1],
  ]) {
    const store = await fresh();
    for (const at of order) {
      await forgetNamed(store, [ids[at] ?? '']);
      const repository = await openSmall(store);
      await executePrune(repository, await planPrune(repository, { maxUnused: { bytes: 0 } }));
      await repository.close();
      expect((await checkAll(store)).problems).toEqual([]);
    }
    const left = ids.filter((_id, at) => !order.includes(at));
    expect([...(await readBack(store)).keys()]).toEqual(left);
  }
});

describe('what is refused', () => {
  test.each([
    ['a policy that says nothing', {}, /the policy keeps nothing/],
    [
      'a policy that would empty a group',
      { tags: [['no such tag']] },
      /host h, paths \[\/volume\].*last snapshot/,
    ],
  ])('%s', async (_name, policy, message) => {
    const repository = await openSmall(await fresh());
    await expect(planForget(repository, { policy })).rejects.toThrow(message);
    await expect(planForget(repository, { policy })).rejects.toMatchObject({ kind: 'usage' });
  });

  test('a name that fits none or several', async () => {
    const repository = await openSmall(await fresh());
    await expect(planForgetNamed(repository, ['zz'])).rejects.toThrow('there is no such snapshot');
    await expect(planForgetNamed(repository, [''])).rejects.toThrow('there is no such snapshot');
  });

  test('a damaged snapshot file: it might change the answer', async () => {
    const store = await fresh();
    const name = ids[0] ?? '';
    await store.save({ type: 'snapshots', name }, new Uint8Array(10));
    const repository = await openSmall(store);
    await expect(planForget(repository, { policy: { last: 1 } })).rejects.toThrow(
      /snapshot [0-9a-f]{8}: its 10 bytes/,
    );
  });

  test('to remove without a lock', async () => {
    const repository = await openSmall(await fresh());
    const plan = await planForget(repository, { policy: { last: 1 } });
    await expect(executeForget(repository, plan)).rejects.toThrow('the repository is not locked');
  });
});

test('filters choose what the policy is about', async () => {
  const store = await fresh();
  await withLock(store, 'shared', async (repository) => {
    await repository.loadIndex();
    const { snapshot } = (await repository.snapshots().next()).value as { snapshot: { tree: Id } };
    const more = { tree: snapshot.tree, time: '2024-02-01T00:00:00Z' };
    await repository.saveSnapshot({ ...more, paths: ['/other'], hostname: 'h', tags: ['red'] });
    await repository.saveSnapshot({
      ...more,
      paths: ['/volume', '/other'],
      hostname: 'i',
      tags: ['red', 'green'],
    });
  });
  const repository = await openSmall(store);
  const count = async (filter: object): Promise<number> => {
    const { groups } = await planForget(repository, { policy: { last: 'unlimited' }, groupBy: [], filter });
    return groups.flatMap((group) => group.keep).length;
  };
  expect(await count({})).toBe(5);
  expect(await count({ hosts: ['i'] })).toBe(1);
  expect(await count({ hosts: ['h', 'i'], paths: ['/other'] })).toBe(2);
  expect(await count({ paths: ['/other', '/volume'] })).toBe(1);
  expect(await count({ tags: [['red', 'green']] })).toBe(1);
  expect(await count({ tags: [['green'], ['']] })).toBe(4);
});

test('killed midway, what is left is whole and can be forgotten again', async () => {
  for (let survives = 1; survives < 4; survives++) {
    const store = await fresh();
    const crashing = new CrashStore(store, survives);
    await expect(forgetNamed(crashing, ids)).rejects.toThrow();
    for await (const file of store.list(['locks'])) await store.remove(file);
    expect((await checkAll(store)).damageCount).toBe(0);
    const left = [...(await readBack(store)).keys()];
    expect(await forgetNamed(store, left)).toHaveLength(left.length);
  }
});
