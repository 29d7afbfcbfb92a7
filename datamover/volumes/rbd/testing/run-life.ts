import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import fc from 'fast-check';
import type { Repository } from '../../../repository/repository.ts';
import { seededRandom } from '../../../repository/testing/bytes.ts';
import { LocalStore } from '../../../store/local/store.ts';
import type { BackupSource } from '../../../transfer/backup-plan.ts';
import type { BackupSummary } from '../../../transfer/backup.ts';
import { forgetAtRandom } from '../../../transfer/testing/forgetting.ts';
import {
  backUp,
  inFolder,
  newRepository,
  readBackup,
  reopen,
  restoreTo,
} from '../../../transfer/testing/volumes.ts';
import type { ChangeKnowledge } from '../../driver.ts';
import type { RbdDriver } from '../driver.ts';
import type { Life } from './lives.ts';
import { change } from '../../testing/workload.ts';

/** How the driver knew what to read, or that the diff came through a pipe. */
type Means = ChangeKnowledge['mechanism'] | 'piped';

/** Of so many steps one comes through a pipe, as `rbd export-diff` prints it; the driver reads all others. */
const STEPS_PER_PIPE = 5;

/** A step: changes, then perhaps a snapshot that goes or a clone to go on with, then a snapshot and its backup. */
const step = fc.record({
  changes: fc.array(change, { maxLength: 4 }),
  then: fc.oneof(
    { weight: 8, arbitrary: fc.constant('nothing' as const) },
    { weight: 5, arbitrary: fc.constant('forget' as const) },
    { weight: 1, arbitrary: fc.constant('clone' as const) },
  ),
  draw: fc.nat(1000),
});

/**
 * Lives `steps` steps; after each the snapshot's backup restores byte for byte. Nothing is sampled, so it is the mechanism alone
 * that is right. At the end most backups are deleted, in any order, and the rest is whole. Gives how often each means was used.
 */
export async function runLife(
  life: Life,
  driver: RbdDriver,
  steps: number,
  seed: number,
): Promise<Map<Means, number>> {
  const used = new Map<Means, number>();
  await inFolder(async (folder) => {
    const store = new LocalStore(join(folder, 'repository'));
    await store.create();
    await (await newRepository(store)).close();
    const backups: { readonly where: string; readonly id: string; readonly sha256: string }[] = [];
    const start = Date.UTC(2026, 0, 1);
    for (const [i, { changes, then, draw }] of fc.sample(step, { seed, numRuns: steps }).entries()) {
      if (then === 'clone' && i > 0) await life.clone();
      for (const what of changes) life.change(what);
      const location = await life.snapshot();
      if (then === 'forget') await life.forget(draw);
      const { model, ceph } = life.expected();
      const where = `step ${i} of seed ${seed}`;
      expect([where, ceph.equals(model)]).toEqual([where, true]);
      const repository = await reopen(store);
      const command = i % STEPS_PER_PIPE === STEPS_PER_PIPE - 1 ? life.diffCommand() : undefined;
      const source: BackupSource =
        command === undefined
          ? { kind: 'driver', driver, location }
          : { kind: 'rbd-diff', input: { kind: 'command', ...command } };
      const summary = await backUp(
        repository,
        source,
        { time: new Date(start + i * 1000), sample: { cells: 0 } },
        { workers: 1 },
      );
      const means = summary.read?.changes.mechanism ?? 'piped';
      used.set(means, (used.get(means) ?? 0) + 1);
      const restored =
        i % 10 === 0
          ? await restoreFile(repository, summary, join(folder, `disk-${i}`))
          : await readBackup(repository, summary.snapshotId ?? '');
      expect([where, means, restored.length]).toEqual([where, means, model.length]);
      expect([where, means, restored.equals(model)]).toEqual([where, means, true]);
      await repository.close();
      backups.push({ where, id: summary.snapshotId ?? '', sha256: sha256(model) });
    }
    // What came later has changed nothing of what came before, nor has what went.
    const left = await forgetAtRandom(store, backups, seededRandom(seed));
    const repository = await reopen(store);
    for (const { where, id, sha256: expected } of left)
      expect([where, sha256(await readBackup(repository, id))]).toEqual([where, expected]);
    await repository.close();
  });
  return used;
}

async function restoreFile(repository: Repository, summary: BackupSummary, path: string): Promise<Buffer> {
  await restoreTo(repository, summary, path, {}, { workers: 1 });
  return readFile(path);
}

function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
