import { expect, test } from '@jest/globals';
import { closeSync, openSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { run } from '../process/spawn.ts';
import { checkRepository } from '../repository/check.ts';
import { executePrune, planPrune } from '../repository/prune.ts';
import { Repository } from '../repository/repository.ts';
import { noise, prose, seededRandom, type Random } from '../repository/testing/bytes.ts';
import { dropLocks } from '../repository/testing/small-repository.ts';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { imageFile } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import {
  backUp,
  inFolder,
  newRepository,
  PASSWORD,
  reopen,
  restoreTo,
  writeImage,
} from './testing/volumes.ts';

const MIB = 1 << 20;
const ROUNDS = 14;

interface Kept {
  readonly summary: BackupSummary;
  readonly sha256: string;
}

/** Something that happens to a disk: writes anywhere, a new size, discarded blocks. */
async function change(path: string, random: Random, round: number): Promise<void> {
  const { size } = await stat(path);
  const bytes = random.below(3) === 0 ? 1 + random.below(24 * MIB) : size;
  const parts = Array.from({ length: random.below(5) }, (_, i) => {
    const content = (random.below(2) === 0 ? noise : prose)(`${round} ${i}`, 1 + random.below(3 * MIB));
    return { offset: random.below(bytes), content };
  }).map(({ offset, content }) => ({ offset, content: content.subarray(0, bytes - offset) }));
  await writeImage(path, bytes, parts);
  if (random.below(2) === 0) {
    const [offset, length] = [random.below(bytes), 1 + random.below(4 * MIB)];
    await run({
      file: 'fallocate',
      args: ['--punch-hole', '--offset', String(offset), '--length', String(length), path],
    });
  }
}

async function backUpSomehow(store: Store, path: string, random: Random): Promise<BackupSummary> {
  const repository = await reopen(store);
  const compression = (['off', 'fastest', 'auto', 'max'] as const)[random.below(4)] ?? 'auto';
  const fd = openSync(path, 'r');
  try {
    const kind = (['image', 'image-stream', 'stream'] as const)[random.below(3)] ?? 'stream';
    const source = kind === 'image' ? imageFile(path) : { kind, input: { kind: 'fd', fd } as const };
    return await backUp(repository, source, { compression }, { workers: 1 + random.below(3) });
  } finally {
    closeSync(fd);
    await repository.close();
  }
}

async function forgetAndPrune(store: Store, { summary }: Kept): Promise<void> {
  await store.remove({ type: 'snapshots', name: summary.snapshotId ?? '' });
  const repository = await Repository.open(store, PASSWORD);
  await executePrune(repository, await planPrune(repository, { maxUnused: { bytes: 0 } }));
  await repository.close();
}

test.each([1, 2, 3])(
  'F-30 a long life of a volume, number %i: every backup that is left comes back',
  async (seed) => {
    await inFolder(async (folder) => {
      const random = seededRandom(seed * 7919);
      const store = new MemoryStore();
      await (await newRepository(store)).close();
      await dropLocks(store);
      const path = await writeImage(join(folder, 'image'), 12 * MIB + 77, [
        { offset: 0, content: noise(seed, 5 * MIB) },
      ]);
      let kept: Kept[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        await change(path, random, round);
        const summary = await backUpSomehow(store, path, random);
        const content = await readFile(path);
        expect(summary.totalBytes).toBe(content.length);
        expect(summary.newBytes + summary.deduplicatedBytes + summary.zeroBytes).toBe(content.length);
        kept.push({ summary, sha256: hash('sha256', content) });
        const victim = kept[random.below(kept.length)];
        if (random.below(3) === 0 && victim !== undefined) {
          await forgetAndPrune(store, victim);
          kept = kept.filter((one) => one !== victim);
        }
      }
      const reader = await reopen(store);
      const { problems, statistics } = await checkRepository(reader, { readData: { kind: 'all' } });
      expect(problems).toEqual([]);
      expect(statistics.snapshots).toBe(kept.length);
      for (const { summary, sha256 } of kept) {
        const target = join(folder, 'restored');
        await restoreTo(reader, summary, target, { verify: true, sparse: random.below(2) === 0 });
        expect(hash('sha256', await readFile(target))).toBe(sha256);
        await rm(target);
      }
    });
  },
  60_000,
);
