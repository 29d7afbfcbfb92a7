import { describe, expect, test } from '@jest/globals';
import { closeSync, openSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkRepository } from '../repository/check.ts';
import { executeForget, planForgetNamed } from '../repository/forget.ts';
import { encodeIndexFile } from '../repository/index-file.ts';
import { executePrune, planPrune } from '../repository/prune.ts';
import { Repository } from '../repository/repository.ts';
import { sha256 } from '../repository/id.ts';
import type { Id, Pack } from '../repository/types.ts';
import { MemoryStore } from '../store/memory.ts';
import type { FileHandle, SaveOptions, Store } from '../store/store.ts';
import { StoreWrapper } from '../store/wrapper.ts';
import { fixtureBytes, volumeSnapshot } from '../volumes/zfs/testing/fixtures.ts';
import { imageFile, type BackupRequest } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import type { TransferOptions } from './progress.ts';
import { backUp, inFolder, newRepository, PASSWORD, reopen, restoreTo } from './testing/volumes.ts';

/** Something happens at the last moment before the first file of a type is stored: the snapshot, or a pack. */
class MeanwhileStore extends StoreWrapper {
  #meanwhile: (() => Promise<void>) | undefined;
  readonly #before: FileHandle['type'];

  constructor(inner: Store, before: FileHandle['type'], meanwhile: () => Promise<void>) {
    super(inner);
    this.#before = before;
    this.#meanwhile = meanwhile;
  }

  override async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    if (file.type === this.#before) {
      const meanwhile = this.#meanwhile;
      this.#meanwhile = undefined;
      await meanwhile?.();
    }
    await super.save(file, content, options);
  }
}

type Kind = 'zvol-stream' | 'zfs-stream' | 'image-file';

/** Two states of a volume: how each goes in, and what comes out after the second. */
const VOLUMES: Record<Kind, { in: readonly [string, string]; out: () => Id }> = {
  'zvol-stream': {
    in: ['zvol-ext4-full', 'zvol-ext4-inc1'],
    out: () => volumeSnapshot('ext4', 's1').sha256,
  },
  'zfs-stream': {
    in: ['fs-full', 'fs-inc1'],
    out: () => sha256(Buffer.concat([fixtureBytes('fs-full'), fixtureBytes('fs-inc1')])),
  },
  // Any bytes will do, the same ones twice: nothing of them is new.
  'image-file': { in: ['fs-full', 'fs-full'], out: () => sha256(fixtureBytes('fs-full')) },
};

async function send(
  store: Store,
  folder: string,
  kind: Kind,
  fixture: string,
  request: Partial<BackupRequest> = {},
  options: TransferOptions = {},
): Promise<BackupSummary> {
  const path = join(folder, fixture);
  await writeFile(path, fixtureBytes(fixture));
  const fd = openSync(path, 'r');
  const repository = await reopen(store);
  try {
    const source = kind === 'image-file' ? imageFile(path) : ({ kind, input: { kind: 'fd', fd } } as const);
    return await backUp(repository, source, request, options);
  } finally {
    await repository.close();
    closeSync(fd);
  }
}

/** Marks every pack, as a prune did two days ago while nobody needed them. */
async function markAll(store: Store): Promise<Pack[]> {
  const repository = await reopen(store);
  const packs: Pack[] = [];
  for await (const { file } of repository.indexFiles()) packs.push(...file.packs);
  const time = new Date(Date.now() - 48 * 3_600_000).toISOString();
  const packsToDelete = packs.map((pack) => ({ ...pack, time }));
  await repository.saveFile('index', encodeIndexFile({ packsToDelete }));
  await repository.close();
  return packs;
}

/** What a schedule does beside a backup: `forget --prune`. Answers how many packs it swept. */
async function forgetAndSweep(store: Store, snapshotId: Id): Promise<number> {
  const forgetting = await Repository.open(store, PASSWORD);
  await forgetting.lock('sweep');
  await executeForget(forgetting, await planForgetNamed(forgetting, [snapshotId]));
  await forgetting.close();
  const pruning = await Repository.open(store, PASSWORD);
  try {
    const job = await planPrune(pruning);
    expect(job.plan.company).toBe('own');
    return (await executePrune(pruning, job)).deletedPacks;
  } finally {
    await pruning.close();
  }
}

/** How often each blob lies in a pack. */
async function copies(store: Store): Promise<Map<string, number>> {
  const repository = await Repository.open(store, PASSWORD);
  const counts = new Map<string, number>();
  for await (const { file } of repository.indexFiles()) {
    for (const { id, type } of file.packs.flatMap(({ blobs }) => blobs)) {
      counts.set(`${type} ${id}`, (counts.get(`${type} ${id}`) ?? 0) + 1);
    }
  }
  return counts;
}

describe.each(Object.keys(VOLUMES) as Kind[])('a backup of a %s onto a base in marked packs', (kind) => {
  const { in: states, out } = VOLUMES[kind];

  test('F-15 F-42 is whole when its base is forgotten and swept while it runs', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await (await newRepository(store)).close();
      const time = new Date(Date.UTC(2026, 0, 1));
      const { snapshotId: base = '' } = await send(store, folder, kind, states[0], { time });
      const marked = await markAll(store);
      let swept = 0;
      const beside = new MeanwhileStore(store, 'snapshots', async () => {
        swept = await forgetAndSweep(store, base);
      });
      let storedAgain = 0;
      const summary = await send(
        beside,
        folder,
        kind,
        states[1],
        {},
        {
          onProgress: ({ storedAgainBytes = 0 }) => (storedAgain = Math.max(storedAgain, storedAgainBytes)),
        },
      );
      // It is told of, or it would be taken for a stall; what is read whole keeps nothing unread.
      expect(storedAgain > 0).toBe(kind !== 'image-file');
      expect(summary.parent).toBe(base);
      expect(swept).toBe(marked.length);
      const repository = await Repository.open(store, PASSWORD);
      const { problems } = await checkRepository(repository, { readData: { kind: 'all' } });
      expect(problems).toEqual([]);
      const path = join(folder, 'restored');
      await restoreTo(await reopen(store), summary, path, {
        verify: true,
        ...(kind === 'zfs-stream' && { as: 'zfs' as const }),
      });
      expect(sha256(await readFile(path))).toBe(out());
      // What was kept is stored once, however often it is named.
      expect([...(await copies(store)).entries()].filter(([, count]) => count > 1)).toEqual([]);
    });
  });
});

test.each(['zvol-stream', 'zfs-stream'] as const)(
  'a %s whose base is swept before it was stored anew makes no backup, and says that trying again helps',
  async (kind) => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await (await newRepository(store)).close();
      const time = new Date(Date.UTC(2026, 0, 1));
      const { snapshotId: base = '' } = await send(store, folder, kind, VOLUMES[kind].in[0], { time });
      await markAll(store);
      // The first pack of the increment holds what came in the stream.
      const beside = new MeanwhileStore(store, 'data', async () => {
        expect(await forgetAndSweep(store, base)).toBeGreaterThan(0);
      });
      await expect(send(beside, folder, kind, VOLUMES[kind].in[1])).rejects.toMatchObject({
        retryable: true,
        message: expect.stringMatching(
          /^back up onto backup \w{8}: a prune swept (data|tree) blob .* of it before/,
        ),
      });
      const repository = await reopen(store);
      expect(repository.listed('snapshots')).toEqual([]);
    });
  },
);
