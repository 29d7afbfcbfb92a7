import { beforeAll, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkRepository } from '../repository/check.ts';
import { adoptOrphans } from '../repository/orphans.ts';
import { noise } from '../repository/testing/bytes.ts';
import { CrashStore, copyFiles } from '../repository/testing/crash-store.ts';
import { dropLocks } from '../repository/testing/small-repository.ts';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { TraceStore } from '../store/trace.ts';
import { backUpImage, inFolder, newRepository, reopen, restoreTo, writeImage } from './testing/volumes.ts';

const MIB = 1 << 20;

async function backUp(store: Store, path: string): Promise<string> {
  const repository = await reopen(store);
  const { snapshotId } = await backUpImage(repository, path, {}, { workers: 1 });
  await repository.close();
  return snapshotId ?? '';
}

async function expectWhole(store: Store): Promise<number> {
  const repository = await reopen(store);
  const { problems, statistics } = await checkRepository(repository, { readData: { kind: 'all' } });
  expect(problems.filter(({ severity }) => severity === 'damage')).toEqual([]);
  await repository.close();
  return statistics.snapshots;
}

describe('F-19 a backup that dies after any of its changes', () => {
  let base: Store;
  beforeAll(async () => {
    base = new MemoryStore();
    await (await newRepository(base)).close();
  });

  test('leaves the repository whole; the next one stores only what is missing and restores', async () => {
    await inFolder(async (folder) => {
      const path = await writeImage(join(folder, 'image'), 45 * MIB, [
        { offset: 0, content: noise('before', 20 * MIB) },
        { offset: 30 * MIB, content: noise('before 2', MIB) },
      ]);
      await backUp(base, path);
      await writeImage(path, 45 * MIB, [{ offset: 2 * MIB + 1, content: noise('after', 37 * MIB) }]);
      const expected = await readFile(path);

      const trial = new MemoryStore();
      await copyFiles(base, trial);
      const watched = new CrashStore(trial);
      await backUp(watched, path);
      const { mutations } = watched;
      expect(mutations.filter((one, i) => one !== mutations[i - 1])).toEqual([
        'save locks',
        'save data',
        'save index',
        'save snapshots',
        'remove locks',
      ]);
      expect(mutations.length).toBeGreaterThan(7);

      for (let survives = 0; survives < mutations.length; survives++) {
        const store = new MemoryStore();
        await copyFiles(base, store);
        await expect(backUp(new CrashStore(store, survives), path)).rejects.toThrow(/killed/);
        const written = mutations.slice(0, survives).filter((one) => one === 'save data').length;
        await dropLocks(store);
        expect(await expectWhole(store)).toBe(
          mutations.slice(0, survives).includes('save snapshots') ? 2 : 1,
        );

        const traced = new TraceStore(store);
        const next = await reopen(traced);
        await adoptOrphans(next, []);
        const saved = traced.totals.save.amount;
        const summary = await backUpImage(next, path, {}, { workers: 1 });
        // 16 full cells make a pack; the last two that are written are the rest and the trees.
        const kept = Math.min(written, 2) * 16 * MIB;
        expect(summary.newBytes).toBeLessThanOrEqual(39 * MIB - kept);
        expect(traced.totals.save.amount - saved).toBeLessThan(39.2 * MIB - kept);
        await expectWhole(store);
        const target = join(folder, `restored-${survives}`);
        await restoreTo(next, summary, target);
        expect(Buffer.compare(await readFile(target), expected)).toBe(0);
      }
    });
  }, 300_000);
});
