import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import fc from 'fast-check';
import type { Repository } from '../../../repository/repository.ts';
import { LocalStore } from '../../../store/local/store.ts';
import type { BackupSummary } from '../../../transfer/backup.ts';
import { backUp, inFolder, newRepository, reopen, restoreTo } from '../../../transfer/testing/volumes.ts';
import { VolumeReader } from '../../../transfer/volume-reader.ts';
import type { ChangeKnowledge } from '../../driver.ts';
import type { RbdDriver } from '../driver.ts';
import type { Life } from './lives.ts';
import { change } from './workload.ts';

type Mechanism = ChangeKnowledge['mechanism'];

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
 * that is right. Gives how often each mechanism was used.
 */
export async function runLife(
  life: Life,
  driver: RbdDriver,
  steps: number,
  seed: number,
): Promise<Map<Mechanism, number>> {
  const used = new Map<Mechanism, number>();
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
      const summary = await backUp(
        repository,
        { kind: 'driver', driver, location },
        { time: new Date(start + i * 1000), sample: { cells: 0 } },
        { workers: 1 },
      );
      const mechanism = summary.read?.changes.mechanism ?? 'everything';
      used.set(mechanism, (used.get(mechanism) ?? 0) + 1);
      const restored =
        i % 10 === 0
          ? await restoreFile(repository, summary, join(folder, `disk-${i}`))
          : await readBackup(repository, summary.snapshotId ?? '');
      expect([where, mechanism, restored.length]).toEqual([where, mechanism, model.length]);
      expect([where, mechanism, restored.equals(model)]).toEqual([where, mechanism, true]);
      await repository.close();
      backups.push({ where, id: summary.snapshotId ?? '', sha256: sha256(model) });
    }
    // What came later has changed nothing of what came before.
    const repository = await reopen(store);
    for (const { where, id, sha256: expected } of backups)
      expect([where, sha256(await readBackup(repository, id))]).toEqual([where, expected]);
    await repository.close();
  });
  return used;
}

async function restoreFile(repository: Repository, summary: BackupSummary, path: string): Promise<Buffer> {
  await restoreTo(repository, summary, path, {}, { workers: 1 });
  return readFile(path);
}

/** All blobs of a backup in order, as any reader of restic's format would put them together: cheaper than a restore. */
export async function readBackup(repository: Repository, id: string): Promise<Buffer> {
  const volume = await VolumeReader.open(repository, id, await repository.loadSnapshot(id));
  const blobs: Uint8Array[] = [];
  for await (const { content } of volume.files())
    for (const blob of content) blobs.push(await repository.loadBlob('data', blob));
  return Buffer.concat(blobs);
}

function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
