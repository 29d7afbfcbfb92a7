import { describe, expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { checkRepository } from '../repository/check.ts';
import { executeForget, planForgetNamed } from '../repository/forget.ts';
import { toBytes } from '../repository/id.ts';
import { executePrune, planPrune } from '../repository/prune.ts';
import { executeRepairIndex, planRepairIndex } from '../repository/repair-index.ts';
import { Repository } from '../repository/repository.ts';
import { rewriteSnapshot } from '../repository/snapshot.ts';
import { noise } from '../repository/testing/bytes.ts';
import { CrashStore, copyFiles } from '../repository/testing/crash-store.ts';
import { dropLocks } from '../repository/testing/small-repository.ts';
import { FaultStore } from '../store/fault.ts';
import { MemoryStore } from '../store/memory.ts';
import type { FileHandle, LoadOptions, Store } from '../store/store.ts';
import { StoreWrapper } from '../store/wrapper.ts';
import { merged } from '../volumes/zfs/merge/testing/merging.ts';
import { fixtureBytes } from '../volumes/zfs/testing/fixtures.ts';
import type { BackupRequest } from './backup-plan.ts';
import { earlierBackups } from './base-backups.ts';
import {
  executeConsolidation,
  planConsolidation,
  type ConsolidationOptions,
  type ConsolidationResult,
} from './consolidate.ts';
import { planRounds } from './consolidation-rounds.ts';
import type { Progress } from './progress.ts';
import { streamFolder } from './layout.ts';
import { streamBytes } from './stream-bytes.ts';
import { hour, newStore, send as feed, snapshotCount, withRepository } from './testing/chains.ts';
import { fileStream } from './testing/file-stream.ts';
import { backUpImage, inFolder, PASSWORD, VOLUME } from './testing/volumes.ts';
import { VolumeReader } from './volume-reader.ts';

const CHAIN = ['fs-full', 'fs-inc1', 'fs-inc2', 'fs-inc3', 'fs-inc4'].map(fixtureBytes);

class LoadCounter extends StoreWrapper {
  begun = 0;
  pending = 0;

  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    this.begun++;
    this.pending++;
    try {
      return await this.inner.load(file, options);
    } finally {
      this.pending--;
    }
  }
}

async function send(store: Store, stream: Uint8Array, request: Partial<BackupRequest> = {}): Promise<string> {
  const { snapshotId = '' } = await inFolder((folder) => feed(store, folder, stream, request));
  return snapshotId;
}

/** A repository with a chain of so many streams; answers the last backup. */
async function chainOf(length: number): Promise<{ store: MemoryStore; last: string }> {
  const store = await newStore();
  let last = '';
  for (const [i, stream] of CHAIN.slice(0, length).entries())
    last = await send(store, stream, { time: hour(i), tags: ['nightly'], host: 'cluster' });
  return { store, last };
}

async function consolidate(
  store: Store,
  id: string,
  options: ConsolidationOptions = {},
): Promise<ConsolidationResult> {
  return withRepository(store, async (repository) =>
    executeConsolidation(repository, await planConsolidation(repository, id), { workers: 1, ...options }),
  );
}

async function streamsOf(store: Store, id: string): Promise<Buffer[]> {
  return withRepository(store, async (repository) => {
    const reader = await VolumeReader.open(repository, id, await repository.loadSnapshot(id));
    const streams: Buffer[] = [];
    for (const [number] of (reader.record.streams ?? []).entries()) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of streamBytes(repository, reader, number, {})) chunks.push(chunk);
      streams.push(Buffer.concat(chunks));
    }
    return streams;
  });
}

async function remove(store: Store, ids: readonly string[]): Promise<void> {
  const forgetting = await Repository.open(store, PASSWORD);
  await forgetting.lock('sweep');
  await executeForget(forgetting, await planForgetNamed(forgetting, ids));
  await forgetting.close();
  const pruning = await Repository.open(store, PASSWORD);
  await executePrune(pruning, await planPrune(pruning, { maxUnused: { bytes: 0 } }));
  await pruning.close();
}

async function damage(store: Store): Promise<unknown[]> {
  return withRepository(store, async (repository) => {
    const { problems } = await checkRepository(repository, { readData: { kind: 'all' } });
    return problems.filter(({ severity }) => severity === 'damage');
  });
}

test('a long chain is merged in rounds, and those of large blocks in more', () => {
  const chain = (length: number, features: readonly string[]) =>
    Array.from({ length }, (_, number) => ({
      ...{ number, folder: streamFolder(number, String(number)), bytes: 1 },
      zfs: { guid: String(number), snapshot: 'tank/files@a', content: 'filesystem' as const, features },
    }));
  const sizes = (length: number, features: readonly string[] = ['compressed'], atOnce?: number): number[] => {
    const streams = chain(length, features);
    const rounds = planRounds(streams, atOnce);
    expect(rounds.flat()).toEqual(streams);
    return rounds.map((round) => round.length);
  };
  expect([sizes(2), sizes(24), sizes(25), sizes(47), sizes(48)]).toEqual([
    [2],
    [24],
    [24, 1],
    [24, 23],
    [24, 23, 1],
  ]);
  expect(sizes(31, ['compressed', 'large-blocks'])).toEqual([16, 15]);
  expect(sizes(5, [], 2)).toEqual([2, 1, 1, 1]);
  // With one at once no round would come nearer to the end.
  for (const atOnce of [1, 0, -1, 2.5, NaN])
    expect(() => sizes(5, [], atOnce)).toThrow(/at least two streams at once/);
});

describe('a chain that is consolidated', () => {
  test('F-59 is one full stream, with all else of the old snapshot; the old one can go, and the next increment fits', async () => {
    const { store, last } = await chainOf(4);
    const result = await consolidate(store, last);
    const expected = await merged(CHAIN.slice(0, 4));
    expect(result.bytes).toBe(expected.length);
    const records = await withRepository(store, async (repository) => {
      const [old, made] = [
        await repository.loadSnapshot(last),
        await repository.loadSnapshot(result.snapshotId),
      ];
      const { tree, original, summary, program_version: program, ...rest } = made;
      expect(original).toBe(last);
      expect(old).toMatchObject(rest);
      expect([tree, program]).not.toContain(old.tree);
      expect(summary).toMatchObject({ total_bytes_processed: expected.length, total_files_processed: 1 });
      const open = async (id: string) =>
        (await VolumeReader.open(repository, id, await repository.loadSnapshot(id))).record;
      return [await open(last), await open(result.snapshotId)] as const;
    });
    const [was, is] = records;
    const newest = was.streams?.at(-1)?.zfs;
    expect(is).toEqual({
      ...was,
      bytes: expected.length,
      streams: [
        {
          folder: `0000-${newest?.guid ?? ''}`,
          bytes: expected.length,
          zfs: { ...newest, fromGuid: undefined, merged: 4 },
        },
      ],
    });
    expect((await streamsOf(store, result.snapshotId))[0]?.equals(expected)).toBe(true);
    // Both are of one time: the new one is the one to build on.
    const next = await send(store, CHAIN[4]!, { time: hour(9), host: 'cluster' });
    await withRepository(store, async (repository) => {
      expect((await repository.loadSnapshot(next)).parent).toBe(result.snapshotId);
      const [newestOf, before] = await earlierBackups(repository, 'cluster', VOLUME);
      expect([newestOf?.id, before?.id]).toEqual([next, result.snapshotId]);
    });
    await remove(store, [last]);
    const [full, increment] = await streamsOf(store, next);
    expect([full?.equals(expected), increment?.equals(CHAIN[4]!)]).toEqual([true, true]);
    expect(await damage(store)).toEqual([]);
    // Once more, of what was merged already and the increment behind it.
    const again = await consolidate(store, next);
    expect((await streamsOf(store, again.snapshotId))[0]?.equals(await merged(CHAIN))).toBe(true);
    const { nothing } = await withRepository(store, (repository) =>
      planConsolidation(repository, again.snapshotId),
    );
    expect(nothing).toMatch(/one full stream already/);
  }, 120_000);

  test('F-59 is the same where its streams are too many to be read at once, and leaves nothing but waste of the rounds', async () => {
    const { store, last } = await chainOf(5);
    const told: Progress[] = [];
    const onProgress = (progress: Progress): void => void told.push(progress);
    const { snapshotId, bytes, newBytes } = await consolidate(store, last, { atOnce: 2, onProgress });
    const expected = await merged(CHAIN);
    expect(bytes).toBe(expected.length);
    // One progress of all rounds: what the first three have made is read as well.
    const madeBetween = [2, 3, 4].map(async (length) => (await merged(CHAIN.slice(0, length))).length);
    const read = [...CHAIN.map(({ length }) => length), ...(await Promise.all(madeBetween))];
    const total = read.reduce((sum, length) => sum + length, 0);
    expect(told.at(-1)).toMatchObject({ phase: 'finishing', doneBytes: total, totalBytes: total, newBytes });
    expect(told.slice(0, 3).map(({ phase }) => phase)).toEqual(Array(3).fill('transferring'));
    for (const [i, { doneBytes, totalBytes = 0, newBytes: stored }] of told.entries()) {
      const before = told[i - 1];
      expect(doneBytes).toBeGreaterThanOrEqual(before?.doneBytes ?? 0);
      expect(totalBytes).toBeGreaterThanOrEqual(doneBytes);
      expect(stored).toBeGreaterThanOrEqual(before?.newBytes ?? 0);
    }
    expect(await snapshotCount(store)).toBe(6);
    await remove(store, [last]);
    expect((await streamsOf(store, snapshotId))[0]?.equals(expected)).toBe(true);
    const record = await withRepository(store, async (repository) =>
      planConsolidation(repository, snapshotId),
    );
    expect(record.streams[0]?.zfs).toMatchObject({ merged: 5 });
    expect(await damage(store)).toEqual([]);
  }, 120_000);

  test('F-62 is made again where a blob of the one that was made is missing', async () => {
    const { store, last } = await chainOf(2);
    const { snapshotId } = await consolidate(store, last);
    const plan = async () => withRepository(store, (repository) => planConsolidation(repository, last));
    expect((await plan()).earlier).toEqual({ merged: snapshotId, replaced: [last] });
    // One of the same line that somebody tagged has another meaning, and does not go with it.
    await withRepository(store, async (repository) => {
      const tagged = rewriteSnapshot(last, await repository.loadSnapshot(last), { tags: ['keep'] });
      const id = await repository.saveSnapshot(tagged);
      await repository.relist();
      expect((await planConsolidation(repository, id)).earlier).toBeUndefined();
      const merged = await planConsolidation(repository, snapshotId);
      expect(merged.earlier).toEqual({ merged: snapshotId, replaced: [last] });
    });
    const lost = await withRepository(store, async (repository) => {
      const reader = await VolumeReader.open(
        repository,
        snapshotId,
        await repository.loadSnapshot(snapshotId),
      );
      const files = await reader.stream(0);
      const id = files.kind === 'apart' ? files.records.content[0] : undefined;
      return repository.index.lookup('data', toBytes(id!))?.pack;
    });
    await store.remove({ type: 'data', name: lost! });
    const repairing = await Repository.open(store, PASSWORD);
    await repairing.lock('exclusive');
    await executeRepairIndex(repairing, await planRepairIndex(repairing));
    await repairing.close();
    expect((await plan()).earlier).toBeUndefined();
  }, 120_000);

  test('F-60 is whole, and nothing else is there, when the job dies after any of its changes', async () => {
    const { store: base, last } = await chainOf(3);
    const expected = CHAIN.slice(0, 3);
    const before = await snapshotCount(base);
    const watched = new MemoryStore();
    await copyFiles(base, watched);
    const counting = new CrashStore(watched);
    await consolidate(counting, last, { atOnce: 2 });
    const { mutations } = counting;
    expect(mutations.filter((one, i) => one !== mutations[i - 1])).toEqual([
      'save locks',
      'save data',
      'save index',
      // The second round's.
      'save data',
      'save index',
      'save snapshots',
      'remove locks',
    ]);
    for (let survives = 0; survives < mutations.length; survives++) {
      const store = new MemoryStore();
      await copyFiles(base, store);
      await expect(consolidate(new CrashStore(store, survives), last, { atOnce: 2 })).rejects.toThrow(
        /killed/,
      );
      await dropLocks(store);
      expect(await damage(store)).toEqual([]);
      const streams = await streamsOf(store, last);
      expect(streams.every((stream, i) => stream.equals(expected[i]!))).toBe(true);
      const there = survives > mutations.indexOf('save snapshots') ? 1 : 0;
      expect(await snapshotCount(store)).toBe(before + there);
    }
  }, 240_000);

  test('F-60 leaves no snapshot where a stream of it cannot be read, or is not what it was', async () => {
    const { store, last } = await chainOf(3);
    const snapshots = async (): Promise<number> => {
      let count = 0;
      for await (const file of store.list(['snapshots'])) count += file.name.length > 0 ? 1 : 0;
      return count;
    };
    // Behind those that the plan reads: trees and volume.json.
    for (const nth of [12, 16, 20]) {
      for (const fault of [
        { fault: 'flipped-bit', bit: 400, on: 'load', type: 'data', nth } as const,
        { fault: 'fail', on: 'load', type: 'data', nth } as const,
      ]) {
        const faulty = new FaultStore(store, [fault]);
        await expect(consolidate(faulty, last)).rejects.toThrow();
        expect([nth, fault.fault, faulty.struck, await snapshots()]).toEqual([nth, fault.fault, 1, 3]);
      }
    }
    const stop = new AbortController();
    await withRepository(store, async (repository) => {
      const plan = await planConsolidation(repository, last);
      const job = executeConsolidation(repository, plan, {
        signal: stop.signal,
        onProgress: () => stop.abort(),
      });
      await expect(job).rejects.toMatchObject({ kind: 'cancelled' });
    });
    expect(await snapshots()).toBe(3);
    await consolidate(store, last);
    expect(await snapshots()).toBe(4);
  }, 120_000);

  test('F-60 loads nothing any more once the job has failed', async () => {
    const store = await newStore({ polynomial: '25b468838dcb75' });
    await send(store, fileStream(1n, 0n, 240, Array(240).keys()), { time: hour(0) });
    const changed = Array.from({ length: 40 }, (_, i) => 6 * i);
    const last = await send(store, fileStream(2n, 1n, 240, changed), { time: hour(1) });
    // The first pack is full when loads behind it are on their way, and do not end by themselves.
    const failing = new FaultStore(store, [
      { fault: 'fail', on: 'save', type: 'data' },
      { fault: 'hang', on: 'load', type: 'data', nth: 34, times: Infinity },
    ]);
    const loads = new LoadCounter(failing);
    await expect(consolidate(loads, last)).rejects.toThrow(/planned fault/);
    expect(failing.struck).toBeGreaterThan(1);
    const { begun } = loads;
    expect(loads.pending).toBe(0);
    await delay(100);
    expect(loads.begun).toBe(begun);
  }, 120_000);

  test('F-59 stays encrypted where it is raw', async () => {
    const store = await newStore();
    const streams = [fixtureBytes('enc-vol-full-w'), fixtureBytes('enc-vol-inc1-w')];
    await send(store, streams[0]!, { time: hour(0) });
    const { snapshotId } = await consolidate(store, await send(store, streams[1]!, { time: hour(1) }));
    expect((await streamsOf(store, snapshotId))[0]?.equals(await merged(streams))).toBe(true);
    const [stream] = await withRepository(
      store,
      async (repository) => (await planConsolidation(repository, snapshotId)).streams,
    );
    expect(stream?.zfs).toMatchObject({ merged: 2, features: expect.arrayContaining(['raw']) });
  });

  test('is refused for an image, with the reason', async () => {
    const store = await newStore();
    const image = await inFolder(async (folder) => {
      await writeFile(join(folder, 'image'), noise('image', 5000));
      return withRepository(store, (repository) => backUpImage(repository, join(folder, 'image')));
    });
    const plan = withRepository(store, (repository) => planConsolidation(repository, image.snapshotId ?? ''));
    await expect(plan).rejects.toThrow(/it keeps an image, which is whole by itself/);
  });
});
