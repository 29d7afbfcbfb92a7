import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import type { Peer } from '../../e2e/servers/peers.ts';
import { checkRepository } from './check.ts';
import type { CheckReport } from './check-report.ts';
import { executeForget, planForget } from './forget.ts';
import { executePrune, planPrune, type PlanPruneOptions } from './prune.ts';
import { executeRepairIndex, planRepairIndex } from './repair-index.ts';
import type { Repository } from './repository.ts';
import { makeWithRestic, openLocal, Scratch } from './testing/maintenance.ts';
import { Restic } from './testing/restic.ts';

/** Repositories as restic makes them: who makes it, and with what arguments. */
const KINDS: Readonly<
  Record<string, { old: boolean; keys?: number; init?: readonly string[]; backup?: readonly string[] }>
> = {
  'version 1 by an old restic': { old: true, init: ['--repository-version', '1'] },
  'version 1 by the current restic': { old: false, init: ['--repository-version', '1'] },
  'version 2, compression off': { old: false, backup: ['--compression', 'off'] },
  'version 2, compression auto, by an old restic': { old: true },
  'version 2, compression max': { old: false, backup: ['--compression', 'max'] },
  'version 2, two keys, small packs': { keys: 2, old: false, backup: ['--pack-size', '4'] },
};

async function withLock<T>(
  path: string,
  mode: 'shared' | 'sweep' | 'exclusive',
  task: (repository: Repository) => Promise<T>,
): Promise<T> {
  const repository = await openLocal(path);
  try {
    await repository.lock(mode);
    return await task(repository);
  } finally {
    await repository.close();
  }
}

async function check(path: string): Promise<CheckReport> {
  return withLock(path, 'shared', (repository) => checkRepository(repository, { readData: { kind: 'all' } }));
}

async function prune(path: string, options: PlanPruneOptions): Promise<void> {
  const repository = await openLocal(path);
  try {
    await executePrune(repository, await planPrune(repository, options));
  } finally {
    await repository.close();
  }
}

/** Every file below a folder with its content. */
async function contents(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const read = await Promise.all(
    files.map(async (file) => [file.slice(folder.length), await readFile(file, 'base64')] as const),
  );
  return Object.fromEntries(read);
}

describePeers(['restic-current', 'restic-debian'], 'maintenance of what restic wrote', (current, debian) => {
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = await Scratch.create('maintenance');
  });
  afterAll(() => scratch.remove());

  /** The newest backup, restored by restic, is the folder that was backed up. */
  async function expectRestores(peer: Peer, path: string, name: string): Promise<void> {
    const target = `${path}-restored`;
    await new Restic(peer, path).ok(['restore', 'latest', '--target', target]);
    expect(await contents(target)).toEqual(await contents(scratch.join(`${name}-source`)));
    await rm(target, { recursive: true });
  }

  test.each(Object.entries(KINDS))(
    'F-41 F-40 %s: check, forget and prune; restic agrees',
    async (kind, { old, keys = 1, init = [], backup = [] }) => {
      const name = kind.replace(/\W+/g, '-');
      const { location: path } = await makeWithRestic(scratch, old ? debian : current, {
        name,
        init,
        backup,
      });
      if (keys > 1) {
        await new Restic(current, path).ok([
          'key',
          'add',
          '--new-password-file',
          await passwordFile(scratch),
        ]);
      }
      const before = await check(path);
      expect(before.problems).toEqual([]);
      expect(before.statistics.snapshots).toBe(3);

      const removed = await withLock(path, 'sweep', async (repository) =>
        executeForget(repository, await planForget(repository, { policy: { last: 1 } })),
      );
      expect(removed.removed).toHaveLength(2);
      await prune(path, { maxUnused: { bytes: 0 }, smallPacks: 'merge' });
      const after = await check(path);
      expect(after.problems).toEqual([]);
      expect(after.statistics.blobs).toEqual({ used: after.statistics.blobs.used, unused: 0, duplicate: 0 });
      expect(after.statistics.blobs.used).toBeLessThan(before.statistics.blobs.used);
      for (const peer of [current, debian]) {
        await new Restic(peer, path).ok(['check', '--read-data']);
        await expectRestores(peer, path, name);
      }
      // Restic finds nothing left to do, and goes on with the repository.
      expect(await new Restic(current, path).ok(['prune', '--dry-run', '--max-unused', '0'])).toMatch(
        /total prune:\s+0 blobs/,
      );
      await new Restic(current, path).ok(['backup', '.', '--host', 'h'], {
        cwd: scratch.join(`${name}-source`),
      });
      await new Restic(current, path).ok(['check', '--read-data']);
    },
    180_000,
  );

  test('blobs stored plain are compressed by repacking, and only then', async () => {
    const name = 'plain';
    const { location: path } = await makeWithRestic(scratch, current, {
      name,
      backup: ['--compression', 'off'],
    });
    const size = async (): Promise<number> => {
      let total = 0;
      for await (const file of (await openLocal(path)).store.list(['data'])) total += file.size;
      return total;
    };
    const before = await size();
    await prune(path, {});
    expect(await size()).toBe(before);
    await prune(path, { repackUncompressed: true });
    expect(await size()).toBeLessThan(before - 500_000);
    await new Restic(debian, path).ok(['check', '--read-data']);
    await expectRestores(current, path, name);
  }, 120_000);

  test('an index made anew from the packs is the index that was there', async () => {
    const { location: path } = await makeWithRestic(scratch, current, { name: 'index' });
    const before = await allEntries(path);
    for (const file of await readdir(join(path, 'index'))) await rm(join(path, 'index', file));
    const { packsRead, unreadable } = await withLock(path, 'exclusive', async (repository) =>
      executeRepairIndex(repository, await planRepairIndex(repository)),
    );
    expect([packsRead > 0, unreadable]).toEqual([true, []]);
    expect(await allEntries(path)).toEqual(before);
    const plan = await withLock(path, 'exclusive', (repository) => planRepairIndex(repository));
    expect([plan.replace, plan.read, plan.missing]).toEqual([[], [], []]);
    await withLock(path, 'exclusive', async (repository) =>
      executeRepairIndex(repository, await planRepairIndex(repository, { readAllPacks: true })),
    );
    expect(await allEntries(path)).toEqual(before);
    await new Restic(debian, path).ok(['check', '--read-data']);
  }, 120_000);

  test('a pack without a readable header is named and left out of the index; the rest is repaired', async () => {
    const { location: path } = await makeWithRestic(scratch, current, { name: 'header' });
    const folder = join(path, 'data', '00');
    await cp(join(path, 'config'), join(folder, '00'.padEnd(64, 'a')));
    const { unreadable } = await withLock(path, 'exclusive', async (repository) =>
      executeRepairIndex(repository, await planRepairIndex(repository)),
    );
    expect(unreadable).toEqual([expect.stringMatching(/^pack 00a{62} has no readable header/)]);
    const report = await check(path);
    expect([report.damageCount, report.untidyCount]).toEqual([0, 1]);
  });
});

async function allEntries(path: string): Promise<unknown[]> {
  const repository = await openLocal(path);
  const packs = [];
  for await (const { file } of repository.indexFiles()) packs.push(...file.packs);
  return packs.sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function passwordFile(scratch: Scratch): Promise<string> {
  const file = scratch.join('second-password');
  await writeFile(file, 'another password\n');
  return file;
}
