/* Long, for each test of a killed or a neighbouring prune stands on the repository and the checks that those before it share. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import type { Peer } from '../../e2e/servers/peers.ts';
import { run } from '../process/spawn.ts';
import { FaultStore } from '../store/fault.ts';
import { LocalStore } from '../store/local/store.ts';
import { MemoryStore } from '../store/memory.ts';
import type { FileInfo, FileType, Store } from '../store/store.ts';
import { TraceStore } from '../store/trace.ts';
import { StoreWrapper } from '../store/wrapper.ts';
import { sealBlob } from './blob.ts';
import { isAuthentic } from './crypto/cipher.ts';
import { sha256 } from './id.ts';
import { encodeIndexFile } from './index-file.ts';
import { encodeLock, newLock } from './lock.ts';
import type { PrunePlan } from './prune-plan.ts';
import { executePrune, planPrune, type PlanPruneOptions, type PruneResult } from './prune.ts';
import { noise } from './testing/bytes.ts';
import { CrashStore, copyFiles } from './testing/crash-store.ts';
import { Scratch } from './testing/maintenance.ts';
import { PASSWORD, Restic } from './testing/restic.ts';
import {
  backUp,
  checkAll,
  content,
  countFiles,
  dropLocks,
  initSmall,
  openSmall,
  readBack,
  withLock,
} from './testing/small-repository.ts';
import type { Id } from './types.ts';

const ALL_WASTE: PlanPruneOptions = { maxUnused: { bytes: 0 } };

async function prune(
  store: Store,
  options: PlanPruneOptions = ALL_WASTE,
): Promise<PruneResult & { plan: PrunePlan }> {
  const repository = await openSmall(store);
  try {
    const job = await planPrune(repository, options);
    return { ...(await executePrune(repository, job)), plan: job.plan };
  } finally {
    await repository.close();
  }
}

async function forget(store: Store, id: Id): Promise<void> {
  await withLock(store, 'sweep', (repository) => repository.removeFile('snapshots', id));
}

/** One backup each of `abc`, `cd` and `e`, of which the first is forgotten: one pack is half used. */
async function makeWaste(store: Store): Promise<void> {
  const first = await withLock(store, 'shared', async (repository) => {
    await repository.loadIndex();
    const id = await backUp(repository, '2024-01-01T00:00:00Z', ['a', 'b', 'c']);
    await backUp(repository, '2024-01-02T00:00:00Z', ['c', 'd']);
    await backUp(repository, '2024-01-03T00:00:00Z', ['e']);
    return id;
  });
  await forget(store, first);
}

/** All that there can be to do: waste, an unused pack, an orphan, a pack in two index files, a second copy of a blob, old marks. */
async function makeMess(store: Store): Promise<void> {
  await makeWaste(store);
  const unused = await withLock(store, 'shared', async (repository) => {
    await repository.loadIndex();
    return backUp(repository, '2024-01-04T00:00:00Z', ['x', 'y']);
  });
  await withLock(store, 'shared', async (repository) => {
    await repository.loadIndex();
    for await (const { file } of repository.indexFiles()) {
      const [pack] = file.packs;
      if (pack === undefined) continue;
      await repository.saveFile(
        'index',
        encodeIndexFile({ packs: [pack], supersedes: [sha256(Buffer.from('other'))] }),
      );
      await repository.saveFile(
        'index',
        encodeIndexFile({ packsToDelete: [{ ...pack, time: '2024-01-01T00:00:00Z' }] }),
      );
      break;
    }
    const { bytes, uncompressedLength } = sealBlob(repository.key, 'data', content('e'), 'auto');
    await repository.saveSealedBlob({ id: sha256(content('e')), type: 'data', uncompressedLength }, bytes);
    await repository.flush();
  });
  await forget(store, unused);
  const orphan = noise('orphan', 5000);
  await store.save({ type: 'data', name: sha256(orphan) }, orphan);
}

/** Marks every pack that holds nothing in use, at a time of our choice. */
async function markUnused(store: Store, at: Date): Promise<void> {
  await withLock(store, 'shared', async (repository) => {
    await repository.loadIndex();
    const unused = await backUp(repository, '2024-01-05T00:00:00Z', ['m', 'n']);
    await repository.removeFile('snapshots', unused);
    const isUnused = new Set([sha256(content('m')), sha256(content('n'))]);
    await repository.relist(['index']);
    for await (const { file } of repository.indexFiles()) {
      const packs = file.packs.filter(({ blobs }) => blobs.every(({ id }) => isUnused.has(id)));
      const packsToDelete = packs.map((pack) => ({ ...pack, time: at.toISOString() }));
      if (packs.length > 0) await repository.saveFile('index', encodeIndexFile({ packsToDelete }));
    }
  });
}

/** A store whose clock is ahead of ours. */
class ClockStore extends StoreWrapper {
  aheadMs: number;

  constructor(inner: Store, aheadMs: number) {
    super(inner);
    this.aheadMs = aheadMs;
  }

  override async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    for await (const file of super.list(types, signal)) {
      const { modified } = file;
      yield modified === undefined
        ? file
        : { ...file, modified: new Date(modified.getTime() + this.aheadMs) };
    }
  }
}

/** What every repository must be after a prune that was alone. */
async function expectTidy(store: Store, contents: readonly string[][]): Promise<void> {
  const report = await checkAll(store);
  expect(report.problems).toEqual([]);
  expect(report.statistics.blobs).toMatchObject({ unused: 0, duplicate: 0 });
  expect([...(await readBack(store)).values()].map((names) => names.join('')).sort()).toEqual(
    contents.map((names) => names.join('')).sort(),
  );
}

const LEFT = [['c', 'd'], ['e']];

describe('alone', () => {
  test('repacks, clears away and leaves exactly what is used', async () => {
    const store = await initSmall();
    await makeMess(store);
    const before = await checkAll(store);
    expect(before.damageCount).toBe(0);
    const { plan, damaged } = await prune(store);
    expect(plan.company).toBe('nobody');
    expect(damaged).toEqual([]);
    expect(plan.statistics.duplicate.blobs).toBeGreaterThan(0);
    expect(plan.orphans).toHaveLength(1);
    await expectTidy(store, LEFT);
  });

  test('the second time there is nothing to do, and nothing is changed', async () => {
    const store = await initSmall();
    await makeMess(store);
    await prune(store);
    const watched = new CrashStore(store);
    const { plan } = await prune(watched);
    expect({ ...plan, statistics: undefined }).toEqual({
      company: 'nobody',
      obstacles: [],
      repack: [],
      remove: [],
      mark: [],
      unmark: [],
      orphans: [],
      orphansLeft: [],
      vanished: [],
      indexFiles: [],
      statistics: undefined,
    });
    expect(watched.mutations).toEqual(['save locks', 'remove locks']);
  });

  test('the plan tells the bytes that remain', async () => {
    const store = await initSmall();
    await makeMess(store);
    const { plan } = await prune(store);
    let bytes = 0;
    for await (const { size } of store.list(['data'])) bytes += size;
    const { remaining } = plan.statistics;
    // New packs bring headers of their own.
    expect(bytes - remaining.bytes).toBeGreaterThanOrEqual(0);
    expect(bytes - remaining.bytes).toBeLessThan(200);
    expect(remaining.unusedBytes).toBe(0);
  });

  test('within the limit for unused data nothing is repacked', async () => {
    const store = await initSmall();
    await makeWaste(store);
    const { plan } = await prune(store, { maxUnused: 'unlimited' });
    // Trees are repacked whatever the limit is.
    expect(plan.statistics.repack.copied).toBeLessThan(content('a').length);
    expect((await checkAll(store)).statistics.blobs.unused).toBe(2);
  });

  test('a dry run takes a shared lock and changes nothing', async () => {
    const store = await initSmall();
    await makeMess(store);
    const watched = new CrashStore(store);
    const repository = await openSmall(watched);
    const { plan } = await planPrune(repository, { ...ALL_WASTE, dryRun: true });
    await repository.close();
    expect(plan.company).toBe('nobody');
    expect(plan.repack.length).toBeGreaterThan(0);
    expect(watched.mutations).toEqual(['save locks', 'remove locks']);
  });

  test('no pack is read twice, and of a pack to repack only what is needed', async () => {
    const store = await initSmall();
    await makeMess(store);
    const loads: string[] = [];
    const traced = new TraceStore(store, (event) => {
      if (event.operation === 'load' && event.file?.type === 'data') loads.push(event.file.name);
    });
    const repository = await openSmall(traced);
    const job = await planPrune(repository, ALL_WASTE);
    loads.length = 0;
    await executePrune(repository, job);
    await repository.close();
    expect(loads.length).toBeGreaterThan(0);
    expect(new Set(loads).size).toBe(loads.length);
  });

  test.each([
    ['nothing at all', 'empty-listing', 0, /does not show our own lock/],
    [
      'nothing the second time',
      'empty-listing',
      1,
      /2 snapshots were listed a moment ago and are not any more/,
    ],
  ] as const)(
    'absence never deletes: a listing that shows %s ends it',
    async (_name, fault, after, message) => {
      const store = await initSmall();
      await makeWaste(store);
      const repository = await openSmall(store);
      const failing = new FaultStore(repository.store);
      const second = await openSmall(failing);
      failing.plan({ on: 'list', type: 'snapshots', nth: 1 + after, fault });
      await expect(planPrune(second)).rejects.toThrow(message);
      await second.close();
      expect((await checkAll(store)).damageCount).toBe(0);
    },
  );

  test('F-29 a blob that is needed and missing stops everything before anything is changed', async () => {
    const store = await initSmall();
    await makeWaste(store);
    for await (const file of store.list(['data'])) if (file.size > 200 * 1024) await store.remove(file);
    const watched = new CrashStore(store);
    await expect(prune(watched)).rejects.toThrow(/is missing and holds 1 blobs in use/);
    expect(watched.mutations).toEqual(['save locks', 'remove locks']);
  });

  test('a damaged pack is left as it is and named; all the rest is done', async () => {
    const store = await initSmall();
    await makeMess(store);
    for await (const file of store.list(['data'])) {
      if (file.size < 300 * 1024) continue;
      // The content of c, which the first pack has in its last third.
      const bytes = await store.load(file);
      bytes[250 * 1024] = (bytes[250 * 1024] ?? 0) ^ 1;
      await store.save(file, bytes);
    }
    const { damaged, deletedPacks } = await prune(store);
    expect(damaged).toEqual([expect.stringMatching(/^pack [0-9a-f]{64} is kept as it is: read data blob/)]);
    expect(deletedPacks).toBeGreaterThan(1);
    const { problems } = await checkAll(store);
    expect(problems.every(({ sentence }) => /SHA-256|is damaged/.test(sentence))).toBe(true);
  });
});

describe('a plain blob whose MAC is damaged', () => {
  test('is sealed anew when it is repacked: its content is proved, and restic would refuse the old MAC', async () => {
    const store = await initSmall();
    await makeWaste(store);
    const damaged: string[] = [];
    await withLock(store, 'shared', async (repository) => {
      for await (const { file } of repository.indexFiles()) {
        for (const { id, blobs } of file.packs) {
          const bytes = await store.load({ type: 'data', name: id });
          for (const blob of blobs) {
            if (blob.type !== 'data' || blob.uncompressedLength > 0) continue;
            const last = blob.offset + blob.length - 1;
            bytes[last] = (bytes[last] ?? 0) ^ 1;
            damaged.push(blob.id);
          }
          await store.save({ type: 'data', name: id }, bytes);
        }
      }
    });
    expect(damaged.length).toBeGreaterThan(0);
    const result = await prune(store);
    expect([result.damaged, result.repackedBlobs > 0]).toEqual([[], true]);
    const repository = await openSmall(store);
    await repository.relist();
    let proved = 0;
    for await (const { file } of repository.indexFiles()) {
      for (const { id, blobs } of file.packs) {
        const bytes = await store.load({ type: 'data', name: id });
        // Other packs stay as they were: check names them.
        if (sha256(bytes) !== id) continue;
        for (const { offset, length } of blobs) {
          expect(isAuthentic(repository.key, bytes.subarray(offset, offset + length))).toBe(true);
          proved++;
        }
      }
    }
    expect(proved).toBeGreaterThan(0);
  });
});

describe('F-29 killed after any change, the repository is whole and the next prune finishes', () => {
  let base: Store;
  let total = 0;

  beforeAll(async () => {
    base = await initSmall();
    await makeMess(base);
    const trial = new MemoryStore();
    await copyFiles(base, trial);
    const watched = new CrashStore(trial);
    await prune(watched);
    total = watched.mutations.length;
    // New packs, their index, the new index, the old index, the packs.
    const order = ['save locks', 'save data', 'save index', 'remove index', 'remove data', 'remove locks'];
    expect(watched.mutations.filter((one, i) => one !== watched.mutations[i - 1])).toEqual(
      order.toSpliced(3, 0),
    );
  });

  test('at each of its changes', async () => {
    expect(total).toBeGreaterThan(12);
    for (let survives = 0; survives < total; survives++) {
      const store = new MemoryStore();
      await copyFiles(base, store);
      const crashing = new CrashStore(store, survives);
      await expect(prune(crashing)).rejects.toThrow();
      expect(crashing.isDead).toBe(true);
      await dropLocks(store);
      const report = await checkAll(store);
      expect({ survives, problems: report.problems.filter(({ severity }) => severity === 'damage') }).toEqual(
        {
          survives,
          problems: [],
        },
      );
      await prune(store);
      await expectTidy(store, LEFT);
    }
  }, 180_000);
});

describePeers(['restic-current', 'restic-debian'], 'killed prunes as restic sees them', (current, debian) => {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await Scratch.create('prune');
  });
  afterAll(() => scratch.remove());

  test('F-29 check --read-data passes after each change', async () => {
    const base = await initSmall(new LocalStore(scratch.join('base')));
    await makeMess(base);
    const trial = new MemoryStore();
    await copyFiles(base, trial);
    const watched = new CrashStore(trial);
    await prune(watched);
    for (let survives = 1; survives < watched.mutations.length; survives++) {
      // Of neighbouring changes of one kind only the first is asked about.
      if (watched.mutations[survives - 1] === watched.mutations[survives - 2]) continue;
      const path = await scratch.copy('base', `killed-${survives}`);
      await expect(prune(new CrashStore(new LocalStore(path), survives))).rejects.toThrow();
      await dropLocks(new LocalStore(path));
      for (const peer of [current, debian])
        await new Restic(peer, path).ok(['--no-lock', 'check', '--read-data']);
    }
  }, 180_000);
});

describe('beside a backup of ours', () => {
  test('F-42 F-39 packs are marked, stay listed, and are swept when the backup is over and the grace is', async () => {
    const store = await initSmall();
    await makeWaste(store);
    const backup = await openSmall(store);
    await backup.lock('shared');
    await backup.loadIndex();

    const packsBefore = await countFiles(store, 'data');
    const first = await prune(store);
    expect(first.plan.company).toBe('own');
    expect(first.markedPacks).toBeGreaterThan(0);
    expect(first.deletedPacks).toBe(0);
    expect(await countFiles(store, 'data')).toBeGreaterThanOrEqual(packsBefore);
    expect((await checkAll(store)).problems).toEqual([]);

    // The backup began before the mark: however short the grace, nothing is swept.
    const second = await prune(store, { ...ALL_WASTE, graceMs: 0 });
    expect([second.markedPacks, second.deletedPacks, second.plan.repack.length]).toEqual([0, 0, 0]);
    await backup.close();

    const other = await openSmall(store);
    await other.lock('shared');
    // This one began after the mark, but not long enough to be sure that it has seen it.
    expect((await prune(store, { ...ALL_WASTE, graceMs: 0 })).deletedPacks).toBe(0);
    await other.close();
    expect((await prune(store)).deletedPacks).toBe(first.markedPacks);
    await expectTidy(store, LEFT);
  });

  test('F-42 marks are dated by the clock of the store, whatever our own says', async () => {
    const store = new ClockStore(await initSmall(), -3 * 3_600_000);
    await makeWaste(store);
    const before = Date.now();
    const backup = await openSmall(store);
    await backup.lock('shared');
    expect((await prune(store)).markedPacks).toBeGreaterThan(0);
    const times: number[] = [];
    await backup.relist(['index']);
    for await (const { file } of backup.indexFiles())
      times.push(...file.packsToDelete.map(({ time }) => Date.parse(time)));
    await backup.close();
    expect(times.length).toBeGreaterThan(0);
    for (const time of times) {
      expect(time).toBeGreaterThan(before - 3.1 * 3_600_000);
      expect(time).toBeLessThan(Date.now() - 2.9 * 3_600_000);
    }
    // And the grace goes by the store's clock: by ours the marks have been three hours old from the start.
    const later = await openSmall(store);
    await later.lock('shared');
    expect((await prune(store, { graceMs: 3_600_000 })).deletedPacks).toBe(0);
    store.aheadMs += 2 * 3_600_000;
    expect((await prune(store, { graceMs: 3_600_000 })).deletedPacks).toBeGreaterThan(0);
    await later.close();
  });

  test('F-42 a mark that is old enough is swept beside a backup that began after it', async () => {
    const store = await initSmall();
    await makeWaste(store);
    await markUnused(store, new Date(Date.now() - 48 * 3_600_000));
    const backup = await openSmall(store);
    await backup.lock('shared');
    await backup.loadIndex();
    const { plan, deletedPacks } = await prune(store, { graceMs: 24 * 3_600_000 });
    expect([plan.company, deletedPacks]).toEqual(['own', 1]);
    // The backup goes on as if nothing had been: what was swept it stores anew.
    await backUp(backup, '2024-02-01T00:00:00Z', ['a', 'd', 'x']);
    await backup.close();
    expect((await checkAll(store)).damageCount).toBe(0);
    expect([...(await readBack(store)).values()]).toContainEqual(['a', 'd', 'x']);
    await prune(store);
    await expectTidy(store, [...LEFT, ['a', 'd', 'x']]);
  });

  test('F-42 a backup that began before the mark may use what was marked meanwhile: the mark is taken back', async () => {
    const store = await initSmall();
    await makeWaste(store);
    const backup = await openSmall(store);
    await backup.lock('shared');
    await backup.loadIndex();
    expect((await prune(store)).markedPacks).toBeGreaterThan(0);
    await backUp(backup, '2024-02-01T00:00:00Z', ['a', 'b', 'd']);
    await backup.close();
    const { plan } = await prune(store, { maxUnused: 'unlimited' });
    expect(plan.unmark.length).toBeGreaterThan(0);
    expect((await checkAll(store)).damageCount).toBe(0);
    await prune(store);
    await expectTidy(store, [...LEFT, ['a', 'b', 'd']]);
  });

  test.each([
    ['ahead', 3],
    ['behind', -3],
  ])(
    'F-42 what was marked after a backup began stays, its host being three hours %s',
    async (_name, hours) => {
      const store = await initSmall();
      await makeWaste(store);
      await markUnused(store, new Date(Date.now() - 24 * 3_600_000));
      const backup = await openSmall(store);
      const at = (ago: number): string => new Date(Date.now() + (hours - ago) * 3_600_000).toISOString();
      // It runs for 25 hours and has just renewed its lock.
      const lock = { ...newLock('shared', '1', at(25)), time: at(0), machine: 'another' };
      await backup.files.save('locks', encodeLock(lock));
      const { plan } = await prune(store);
      expect([plan.company, plan.remove]).toEqual(['own', []]);
      await dropLocks(store);
    },
  );

  test('F-43 a pack that no index names yet is left to the backup that wrote it', async () => {
    const store = await initSmall();
    await makeWaste(store);
    const backup = await openSmall(store);
    await backup.lock('shared');
    const pack = noise('uploaded, not yet indexed', 5000);
    await store.save({ type: 'data', name: sha256(pack) }, pack);
    const { plan } = await prune(store);
    expect([plan.orphans, plan.orphansLeft]).toEqual([[], [sha256(pack)]]);
    await backup.close();
    expect((await prune(store)).plan.orphans).toEqual([sha256(pack)]);
    await expectTidy(store, LEFT);
  });

  test('killed after any change while it marks or sweeps, all is whole, and a prune alone tidies up', async () => {
    for (const old of [false, true]) {
      for (let survives = 0, done = false; !done; survives++) {
        const store = await initSmall();
        await makeWaste(store);
        if (old) await markUnused(store, new Date(Date.now() - 48 * 3_600_000));
        const backup = await openSmall(store);
        await backup.lock('shared');
        const crashing = new CrashStore(store, survives);
        const outcome = await prune(crashing).then(
          () => 'ended',
          () => 'killed',
        );
        done = outcome === 'ended';
        await backup.close();
        await dropLocks(store);
        expect((await checkAll(store)).damageCount).toBe(0);
        await prune(store);
        await expectTidy(store, LEFT);
      }
    }
  }, 120_000);

  test('another prune is kept out', async () => {
    const store = await initSmall();
    await withLock(store, 'sweep', async () => {
      const error: unknown = await prune(store).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(DatamoverError);
      expect(error).toMatchObject({ kind: 'locked', exitCode: 11 });
    });
    expect(await countFiles(store, 'locks')).toBe(0);
  });
});

describe('beside a foreign lock', () => {
  async function lockForeign(store: Store): Promise<Id> {
    const repository = await openSmall(store);
    const { time } = newLock('shared', '0');
    const lock = { time, exclusive: false, hostname: 'elsewhere', username: 'root', pid: 4711 };
    return repository.files.save('locks', encodeLock(lock));
  }

  test('F-42 nothing is removed, not an index file nor a mark, however old', async () => {
    const store = await initSmall();
    await makeMess(store);
    await markUnused(store, new Date('2024-01-01T00:00:00Z'));
    await lockForeign(store);
    const watched = new CrashStore(store);
    const { plan } = await prune(watched);
    expect(plan.company).toBe('foreign');
    expect(watched.mutations.filter((one) => one.startsWith('remove') && one !== 'remove locks')).toEqual([]);
    expect((await checkAll(store)).damageCount).toBe(0);
    await dropLocks(store);
    await prune(store);
    await expectTidy(store, LEFT);
  });

  test('a foreign exclusive lock keeps prune out', async () => {
    const store = await initSmall();
    const repository = await openSmall(store);
    const lock = { ...newLock('exclusive', '0'), hostname: 'elsewhere', program: 'other' };
    await repository.files.save('locks', encodeLock(lock));
    await expect(prune(store)).rejects.toMatchObject({ kind: 'locked' });
  });
});

describePeers(
  ['restic-current', 'restic-debian', 'rustic'],
  'marks as others see them',
  (current, debian, rustic) => {
    let scratch: Scratch;
    beforeAll(async () => {
      scratch = await Scratch.create('marks');
    });
    afterAll(() => scratch.remove());

    test('F-39 F-40 restic checks, restores, backs up and prunes a repository with marks', async () => {
      const path = scratch.join('restic');
      const store = await initSmall(new LocalStore(path));
      await makeWaste(store);
      await withLock(store, 'shared', async () => {
        expect((await prune(store)).markedPacks).toBeGreaterThan(0);
      });
      for (const [i, peer] of [current, debian].entries()) {
        const restic = new Restic(peer, path);
        await restic.ok(['check', '--read-data']);
        await restic.ok(['restore', 'latest', '--target', scratch.join(`restored-${i}`)]);
        await restic.ok(['backup', scratch.join(`restored-${i}`)]);
        await restic.ok(['check', '--read-data']);
        expect((await checkAll(store)).damageCount).toBe(0);
      }
      await new Restic(current, path).ok(['prune', '--max-unused', '0']);
      await new Restic(current, path).ok(['check', '--read-data']);
      expect((await checkAll(store)).problems).toEqual([]);
    }, 180_000);

    test('F-41 what rustic has marked, and lists nowhere else, is a marked pack for us', async () => {
      const path = scratch.join('rustic');
      const store = await initSmall(new LocalStore(path));
      await makeWaste(store);
      await runRustic(rustic, path, ['prune', '--max-unused', '0B', '--keep-delete', '23h']);
      const marked = await withLock(store, 'shared', async (repository) => {
        let count = 0;
        for await (const { file } of repository.indexFiles()) count += file.packsToDelete.length;
        return count;
      });
      expect(marked).toBeGreaterThan(0);
      // Beside somebody else its marks are kept; alone they go with their packs.
      await withLock(store, 'shared', async () => {
        expect((await prune(store)).deletedPacks).toBe(0);
      });
      const { plan } = await prune(store);
      expect(plan.remove.length).toBeGreaterThanOrEqual(marked);
      expect(plan.orphans).toEqual([]);
      await expectTidy(store, LEFT);
      await runRustic(rustic, path, ['check', '--read-data']);
    });

    test('F-40 rustic checks and prunes a repository with our marks', async () => {
      const path = scratch.join('marked');
      const store = await initSmall(new LocalStore(path));
      await makeWaste(store);
      await withLock(store, 'shared', async () => {
        expect((await prune(store)).markedPacks).toBeGreaterThan(0);
      });
      await runRustic(rustic, path, ['check', '--read-data']);
      await runRustic(rustic, path, ['prune', '--max-unused', '0B', '--instant-delete']);
      await runRustic(rustic, path, ['check', '--read-data']);
      await prune(store);
      await expectTidy(store, LEFT);
    });
  },
);

async function runRustic(peer: Peer, path: string, args: readonly string[]): Promise<void> {
  await run({
    file: peer.file,
    args: [...args, '--no-cache'],
    env: { RUSTIC_REPOSITORY: path, RUSTIC_PASSWORD: PASSWORD },
  });
}
