import { closeSync, openSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { InitOptions } from '../../repository/init.ts';
import type { Repository } from '../../repository/repository.ts';
import { MemoryStore } from '../../store/memory.ts';
import type { Store } from '../../store/store.ts';
import type { BackupRequest } from '../backup-plan.ts';
import type { BackupSummary } from '../backup.ts';
import type { RestoreRequest } from '../restore.ts';
import { VolumeReader } from '../volume-reader.ts';
import { backUp, newRepository, reopen, restoreTo } from './volumes.ts';

/** Each job opens the repository anew and gives its lock back. */
export async function withRepository<T>(
  store: Store,
  job: (repository: Repository) => Promise<T>,
): Promise<T> {
  const repository = await reopen(store);
  try {
    return await job(repository);
  } finally {
    await repository.close();
  }
}

export async function newStore(options: InitOptions = {}): Promise<MemoryStore> {
  const store = new MemoryStore();
  await (await newRepository(store, options)).close();
  return store;
}

/** Backs a stream up that comes through a descriptor, in a process of its own as it were: nothing is known but what the repository says. */
export async function send(
  store: Store,
  folder: string,
  stream: Uint8Array,
  request: Partial<BackupRequest> = {},
  kind: 'zfs-stream' | 'zvol-stream' | 'rbd-diff' = 'zfs-stream',
): Promise<BackupSummary> {
  const path = join(folder, 'stream');
  await writeFile(path, stream);
  const fd = openSync(path, 'r');
  try {
    return await withRepository(store, (repository) =>
      backUp(repository, { kind, input: { kind: 'fd', fd } }, request),
    );
  } finally {
    closeSync(fd);
  }
}

export async function restored(
  store: Store,
  folder: string,
  summary: BackupSummary,
  request: Partial<RestoreRequest> = {},
): Promise<Buffer> {
  const path = join(folder, 'restored');
  await withRepository(store, (repository) =>
    restoreTo(repository, summary, path, { as: 'zfs', verify: true, ...request }),
  );
  const bytes = await readFile(path);
  await rm(path);
  return bytes;
}

export async function read(store: Store, { snapshotId = '' }: BackupSummary): Promise<VolumeReader> {
  return withRepository(store, async (repository) =>
    VolumeReader.open(repository, snapshotId, await repository.loadSnapshot(snapshotId)),
  );
}

/** Later than the one before: backups of one test would else have the same second. */
export function hour(i: number): Date {
  return new Date(Date.UTC(2026, 0, 1, i));
}

export async function snapshotCount(store: Store): Promise<number> {
  return withRepository(store, async (repository) => {
    let count = 0;
    for await (const { snapshot } of repository.snapshots()) count += snapshot.paths.length;
    return count;
  });
}
