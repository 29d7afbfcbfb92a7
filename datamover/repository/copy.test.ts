import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { LocalStore } from '../store/local/store.ts';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { executeCopy, planCopy, type CopyPlan, type CopyResult } from './copy.ts';
import { checkRepository } from './check.ts';
import { Repository } from './repository.ts';
import { repositoryStats } from './stats.ts';
import { CrashStore } from './testing/crash-store.ts';
import { makeWithRestic, openLocal, Scratch } from './testing/maintenance.ts';
import { PASSWORD, Restic } from './testing/restic.ts';
import {
  backUp,
  content,
  dropLocks,
  initSmall,
  openSmall,
  readBack,
  withLock,
} from './testing/small-repository.ts';
import type { Id } from './types.ts';

const OTHER_PASSWORD = 'battery staple';

async function copy(
  from: Repository,
  to: Repository,
  only?: readonly Id[],
): Promise<CopyResult & { plan: CopyPlan }> {
  await from.lock('shared');
  await to.lock('shared');
  try {
    await from.loadIndex();
    await to.loadIndex();
    const snapshots = [];
    for await (const one of from.snapshots()) if (only?.includes(one.id) ?? true) snapshots.push(one);
    const job = await planCopy(from, to, snapshots);
    return { ...(await executeCopy(from, to, job)), plan: job.plan };
  } finally {
    await from.close();
    await to.close();
  }
}

describe('copying', () => {
  let source: Store;
  let second: Id;

  beforeAll(async () => {
    source = await initSmall();
    await withLock(source, 'shared', async (repository) => {
      await repository.loadIndex();
      await backUp(repository, '2024-01-01T00:00:00Z', ['a', 'b']);
      second = await backUp(repository, '2024-01-02T00:00:00Z', ['b', 'c']);
    });
  });

  const target = (version: 1 | 2 = 2): Promise<Store> =>
    initSmall(new MemoryStore(), OTHER_PASSWORD, version);
  const openTarget = (store: Store): Promise<Repository> => Repository.open(store, OTHER_PASSWORD);

  test.each([1, 2] as const)(
    'to another password, format version %d: everything comes over',
    async (version) => {
      const to = await target(version);
      const { plan, snapshots, blobs } = await copy(await openSmall(source), await openTarget(to));
      expect([plan.copy.length, snapshots.length, blobs]).toEqual([2, 2, plan.blobs]);
      const repository = await openTarget(to);
      const report = await checkRepository(repository, { readData: { kind: 'all' } });
      expect(report.problems).toEqual([]);
      expect([...(await readBack(to, OTHER_PASSWORD)).values()].sort()).toEqual([
        ['a', 'b'],
        ['b', 'c'],
      ]);
    },
  );

  test('F-21 a copy names the first of its line, also the copy of a copy, and loses its parent', async () => {
    const middle = await target();
    // Repositories of one kind share their config here, and would be one and the same for a copy.
    const last = await target(1);
    const first = await copy(await openSmall(source), await openTarget(middle), [second]);
    const then = await copy(await openTarget(middle), await openTarget(last));
    const repository = await openTarget(last);
    const { original, parent } = await repository.loadSnapshot(then.snapshots[0]?.as ?? '');
    expect([original, parent]).toEqual([second, undefined]);
    expect(first.snapshots[0]?.as).not.toBe(second);
  });

  test('the second time nothing is copied; a further snapshot brings only what is new', async () => {
    const to = await target();
    const one = await copy(await openSmall(source), await openTarget(to), [second]);
    const both = await copy(await openSmall(source), await openTarget(to));
    expect([both.plan.present, both.plan.copy.length]).toEqual([one.snapshots, 1]);
    // a, and the two trees above it.
    expect([both.plan.blobs, both.plan.sharedBlobs]).toEqual([3, 1]);
    const watched = new CrashStore(to);
    const again = await copy(await openSmall(source), await openTarget(watched));
    expect([again.plan.copy, again.blobs]).toEqual([[], 0]);
    expect(new Set(watched.mutations)).toEqual(new Set(['save locks', 'remove locks']));
  });

  test('killed after any change it can be repeated, and nothing indexed is copied twice', async () => {
    for (let survives = 0, done = false; !done; survives++) {
      const to = await target();
      const crashing = new CrashStore(to, survives);
      const outcome = await copy(await openSmall(source), await openTarget(crashing)).then(
        () => 'ended',
        () => 'killed',
      );
      done = outcome === 'ended';
      await dropLocks(to);
      await dropLocks(source);
      await copy(await openSmall(source), await openTarget(to));
      expect([...(await readBack(to, OTHER_PASSWORD)).values()].sort()).toEqual([
        ['a', 'b'],
        ['b', 'c'],
      ]);
      const report = await checkRepository(await openTarget(to), { readData: { kind: 'all' } });
      expect([report.damageCount, report.statistics.blobs.duplicate]).toEqual([0, 0]);
    }
  }, 120_000);

  test('a damaged blob is not copied, and no snapshot that needs it', async () => {
    const damaged = new MemoryStore();
    for await (const file of source.list(['config', 'keys', 'index', 'snapshots', 'data'])) {
      const bytes = await source.load(file);
      if (file.type === 'data' && file.size > content('a').length) bytes[1000] = (bytes[1000] ?? 0) ^ 1;
      await damaged.save(file, bytes);
    }
    const to = await target();
    await expect(copy(await openSmall(damaged), await openTarget(to))).rejects.toThrow(
      /data blob [0-9a-f]{8} in pack/,
    );
    expect((await readBack(to, OTHER_PASSWORD)).size).toBe(0);
  });

  test('a repository is not copied into itself', async () => {
    await expect(copy(await openSmall(source), await openSmall(source))).rejects.toThrow(
      'the same repository',
    );
  });

  test('sizes: what a restore writes, and what the blobs take', async () => {
    const repository = await openSmall(source);
    await repository.loadIndex();
    const snapshots = [];
    for await (const one of repository.snapshots()) snapshots.push(one);
    const stats = await repositoryStats(repository, snapshots);
    const size = content('a').length;
    expect(stats.snapshots.map(({ files, restoreBytes }) => [files, restoreBytes])).toEqual([
      [2, 2 * size],
      [2, 2 * size],
    ]);
    expect(stats.restore).toEqual({ files: 4, bytes: 4 * size });
    // a, b and c, and two trees for each snapshot.
    expect(stats.blobs.count).toBe(7);
    expect(stats.blobs.plainBytes).toBeGreaterThan(3 * size);
    expect(stats.packs.bytes).toBeGreaterThan(stats.blobs.storedBytes);
    const one = await repositoryStats(repository, snapshots.slice(0, 1));
    expect([one.blobs.count, one.restore.files]).toEqual([4, 2]);
  });
});

describePeers(['restic-current', 'restic-debian'], 'copies of what restic wrote', (current, debian) => {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await Scratch.create('copy');
    await makeWithRestic(scratch, debian, { name: 'v1', init: ['--repository-version', '1'] });
    await makeWithRestic(scratch, current, { name: 'v2' });
  }, 120_000);
  afterAll(() => scratch.remove());

  test.each([
    ['v1', 2],
    ['v2', 1],
    ['v2', 2],
  ] as const)(
    'F-40 F-41 from %s to version %d: restic finds it whole, restores it, and copies nothing more',
    async (name, version) => {
      const path = scratch.join(`${name}-to-${version}`);
      const store = new LocalStore(path);
      const source = await openLocal(scratch.join(name));
      await Repository.init(store, OTHER_PASSWORD, { version, polynomial: source.config.chunker_polynomial });
      await copy(source, await Repository.open(store, OTHER_PASSWORD));
      const restic = new Restic(current, path, OTHER_PASSWORD);
      await restic.ok(['check', '--read-data']);
      await restic.ok(['restore', 'latest', '--target', `${path}-restored`]);
      const from = { RESTIC_FROM_REPOSITORY: scratch.join(name), RESTIC_FROM_PASSWORD: PASSWORD };
      await restic.ok(['copy'], { env: from });
      expect(JSON.parse(await restic.ok(['snapshots', '--json']))).toHaveLength(3);
    },
    120_000,
  );
});
