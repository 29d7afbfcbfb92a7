import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeConfig } from '../../repository/config.ts';
import { seal } from '../../repository/crypto/cipher.ts';
import { planInit, type InitOptions } from '../../repository/init.ts';
import { newMasterKey } from '../../repository/key-file.ts';
import { addKey } from '../../repository/keys.ts';
import { Repository, type OpenOptions } from '../../repository/repository.ts';
import type { Store } from '../../store/store.ts';
import { joinedStream } from '../../volumes/zfs/joined-stream.ts';
import { imageFile, planBackup, type BackupRequest } from '../backup-plan.ts';
import { executeBackup, type BackupSummary } from '../backup.ts';
import type { TransferOptions } from '../progress.ts';
import {
  executeRestore,
  fileTarget,
  planRestore,
  type RestoreRequest,
  type RestoreSummary,
} from '../restore.ts';
import { isChain } from '../stream-chain.ts';
import { VolumeReader, type ContentFile } from '../volume-reader.ts';

export const PASSWORD = 'a password of the tests';
export const VOLUME = { namespace: 'shop', name: 'database' };

/** A quarter of a second per opening adds up in tests: this one costs next to nothing. */
const CHEAP_KDF = { N: 16, r: 1, p: 1 };

/** A new repository, locked and with its index loaded, as a backup wants it. */
export async function newRepository(
  store: Store,
  options: InitOptions & OpenOptions = {},
): Promise<Repository> {
  const { config } = await planInit(store, options);
  const key = newMasterKey();
  await addKey({ store, key, keyId: '' }, PASSWORD, {}, CHEAP_KDF);
  await store.save({ type: 'config', name: '' }, seal(key, encodeConfig(config)));
  return ready(await Repository.open(store, PASSWORD, options));
}

/** The same repository as another process would open it. */
export async function reopen(store: Store): Promise<Repository> {
  return ready(await Repository.open(store, PASSWORD));
}

async function ready(repository: Repository): Promise<Repository> {
  await repository.lock('shared');
  await repository.loadIndex();
  return repository;
}

/** Gives a job a folder that is gone afterwards. */
export async function inFolder<T>(job: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'datamover-transfer-'));
  try {
    return await job(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface Part {
  readonly offset: number;
  readonly content: Uint8Array;
}

/** Writes an image of this size whose parts are data and whose rest is holes, or changes one that is there. */
export async function writeImage(path: string, bytes: number, parts: readonly Part[]): Promise<string> {
  const file = await open(path, 'a').then(async (made) => {
    await made.close();
    return open(path, 'r+');
  });
  try {
    await file.truncate(bytes);
    for (const { offset, content } of parts) await file.write(content, 0, content.length, offset);
  } finally {
    await file.close();
  }
  return path;
}

export async function backUp(
  repository: Repository,
  source: BackupRequest['source'],
  request: Partial<BackupRequest> = {},
  options: TransferOptions = {},
): Promise<BackupSummary> {
  return executeBackup(
    repository,
    await planBackup(repository, { volume: VOLUME, source, ...request }),
    options,
  );
}

export async function backUpImage(
  repository: Repository,
  path: string,
  request: Partial<BackupRequest> = {},
  options: TransferOptions = {},
): Promise<BackupSummary> {
  return backUp(repository, imageFile(path), request, options);
}

export async function restoreTo(
  repository: Repository,
  summary: Pick<BackupSummary, 'snapshotId'>,
  path: string,
  request: Partial<RestoreRequest> = {},
  options: TransferOptions = {},
): Promise<RestoreSummary> {
  const plan = await planRestore(repository, {
    snapshotId: summary.snapshotId ?? 'a dry run has no snapshot',
    target: fileTarget(path),
    ...request,
  });
  return executeRestore(repository, plan, options);
}

/** The bytes of a backup, as any reader of restic's format would put them together: cheaper than a restore. */
export async function readBackup(repository: Repository, id: string): Promise<Buffer> {
  const volume = await VolumeReader.open(repository, id, await repository.loadSnapshot(id));
  const parts: Uint8Array[] = [];
  async function* blobsOf({ content }: ContentFile): AsyncGenerator<Uint8Array> {
    for (const blob of content) yield await repository.loadBlob('data', blob);
  }
  const streams = isChain(volume.record) ? (volume.record.streams ?? []) : [];
  for (const number of streams.keys()) {
    const files = await volume.stream(number);
    const bytes =
      files.kind === 'whole'
        ? blobsOf(files.send)
        : joinedStream(blobsOf(files.records), blobsOf(files.blocks));
    for await (const part of bytes) parts.push(part);
  }
  if (parts.length > 0) return Buffer.concat(parts);
  for await (const file of volume.files()) for await (const blob of blobsOf(file)) parts.push(blob);
  return Buffer.concat(parts);
}
