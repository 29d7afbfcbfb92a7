import { describe, expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { executeForget, planForgetNamed } from '../repository/forget.ts';
import { executePrune, planPrune } from '../repository/prune.ts';
import { executeRepairIndex, planRepairIndex } from '../repository/repair-index.ts';
import { Repository } from '../repository/repository.ts';
import { FaultStore } from '../store/fault.ts';
import type { FileHandle, LoadOptions, Store } from '../store/store.ts';
import { StoreWrapper } from '../store/wrapper.ts';
import type { ReadPlan, ReadRequest, SourceVolume } from '../volumes/driver.ts';
import { ZfsDriver } from '../volumes/zfs/driver.ts';
import type { ZfsRead } from '../volumes/zfs/read-plan.ts';
import type { ZfsSource } from '../volumes/zfs/source.ts';
import { StreamEncoder } from '../volumes/zfs/testing/encoder.ts';
import { fixture, fixtureBytes, fixtures } from '../volumes/zfs/testing/fixtures.ts';
import { readStream } from '../volumes/zfs/testing/reading.ts';
import { imageFile, planBackup } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import { keepStreams } from './chain-backup.ts';
import { planRestore } from './restore.ts';
import { endedChain, readChainBase } from './stream-chain.ts';
import { hour, newStore, read, restored, send, snapshotCount, withRepository } from './testing/chains.ts';
import { backUp, inFolder, PASSWORD, reopen, VOLUME } from './testing/volumes.ts';
import { saveOptions } from './watched-save.ts';

/** The streams of one filesystem, as `zfs send` and `zfs send -i` wrote them. */
const CHAIN = ['fs-full', 'fs-inc1', 'fs-inc2', 'fs-inc3', 'fs-inc4'] as const;
const isIncrement = (id: string): boolean => fixture(id).args.includes('-i ');

/** Stands in for a pool that still has every snapshot, and is asked for nothing but a plan. */
class EverySnapshotDouble extends ZfsDriver {
  override async identify(location: string): Promise<ZfsSource> {
    // What only a pool needs of it is not there.
    return { driver: 'zfs', location, format: 'stream', bytes: 1, record: {} } as SourceVolume as ZfsSource;
  }

  override async planRead(source: SourceVolume, { bases: [base] }: ReadRequest): Promise<ZfsRead> {
    const mechanism = base === undefined ? 'everything' : 'zfs-send-increment';
    return { source: source as ZfsSource, ...(base && { base }), changes: { mechanism }, bookmarks: [] };
  }
}

async function removeAndPrune(store: Store, snapshotId: string): Promise<void> {
  const forgetting = await Repository.open(store, PASSWORD);
  await forgetting.lock('sweep');
  await executeForget(forgetting, await planForgetNamed(forgetting, [snapshotId]));
  await forgetting.close();
  const pruning = await Repository.open(store, PASSWORD);
  await executePrune(pruning, await planPrune(pruning, { maxUnused: { bytes: 0 } }));
  await pruning.close();
}

function concat(ids: readonly string[]): Buffer {
  return Buffer.concat(ids.map(fixtureBytes));
}

/** How many trees and other parts of packs are asked for at once. */
class MostAtOnce extends StoreWrapper {
  most = 0;
  #pending = 0;

  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    this.most = Math.max(this.most, ++this.#pending);
    try {
      // A store that is not in this process takes its time.
      await delay(1);
      return await this.inner.load(file, options);
    } finally {
      this.#pending--;
    }
  }
}

describe('a chain of send streams', () => {
  test('F-50 F-51 F-53 each backup holds its whole chain, bit for bit, and names the trees of the one before', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const backups: BackupSummary[] = [];
      for (const [i, id] of CHAIN.entries()) {
        const bytes = fixtureBytes(id);
        const summary = await send(store, folder, bytes, { time: hour(i) });
        const totalBytes = concat(CHAIN.slice(0, i + 1)).length;
        expect(summary).toMatchObject({ format: 'stream', totalBytes, readBytes: bytes.length });
        expect(summary.newBytes).toBeLessThanOrEqual(bytes.length);
        backups.push(summary);
      }
      const readers = await Promise.all(backups.map((summary) => read(store, summary)));
      const streams = readers.at(-1)?.record.streams ?? [];
      expect(streams.map(({ zfs }) => zfs?.snapshot)).toEqual(CHAIN.map((_, i) => `tank/src/files@s${i}`));
      expect(streams.map(({ bytes }) => bytes)).toEqual(CHAIN.map((id) => fixtureBytes(id).length));
      expect(streams.slice(1).map(({ zfs }) => zfs?.fromGuid)).toEqual(
        streams.slice(0, -1).map(({ zfs }) => zfs?.guid),
      );
      expect(streams[0]).toMatchObject({
        folder: '0000-11801127595853735247',
        zfs: { guid: '11801127595853735247', content: 'filesystem', features: ['spill', 'large-dnode'] },
      });
      const folders = await Promise.all(readers.map((reader) => reader.streamFolders()));
      for (const [i, list] of folders.entries()) expect(list).toEqual(folders.at(-1)?.slice(0, i + 1));
      for (const [i, summary] of backups.entries()) {
        const whole = await restored(store, folder, summary);
        expect(whole.equals(concat(CHAIN.slice(0, i + 1)))).toBe(true);
      }
      const last = backups.at(-1)!;
      const guid = streams[2]?.zfs?.guid ?? '';
      for (const stream of ['2', guid]) {
        expect((await restored(store, folder, last, { stream })).equals(fixtureBytes('fs-inc2'))).toBe(true);
      }
      await expect(restored(store, folder, last, { stream: '5' })).rejects.toThrow(
        /find the stream 5: snapshot \w{8} has the streams 0 to 4, and none of a snapshot with this guid/,
      );
    });
  });

  test.each(fixtures.map(({ id }) => id))('F-50 %s comes back as it was sent, or is refused', async (id) => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const bytes = fixtureBytes(id);
      if (isIncrement(id)) {
        await expect(send(store, folder, bytes)).rejects.toThrow(/and the volume has no backup yet/);
        expect(await snapshotCount(store)).toBe(0);
        return;
      }
      const summary = await send(store, folder, bytes);
      expect((await restored(store, folder, summary)).equals(bytes)).toBe(true);
      const [{ zfs } = { zfs: undefined }] = (await read(store, summary)).record.streams ?? [];
      expect(zfs?.features.includes('raw')).toBe(id.endsWith('-w'));
    });
  });

  test('F-50 cut, changed, shuffled and doubled streams make no backup', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      for (const id of ['fs-full', 'enc-vol-full-w', 'bug-spill-full-c']) {
        const bytes = fixtureBytes(id);
        const places: number[] = [0];
        for (const { payload } of readStream(bytes)) places.push((places.at(-1) ?? 0) + 312 + payload.length);
        const [a = 0, b = 0, c = 0] = places.slice(5);
        const flip = (at: number): Buffer => {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ 8;
          return changed;
        };
        const variants: readonly (readonly [Uint8Array, RegExp])[] = [
          [bytes.subarray(0, bytes.length - 312), /it stops after \d+ bytes, before its end/],
          [bytes.subarray(0, a + 100), /it stops after \d+ bytes, before its end/],
          [flip(a + 20), /the checksum of the stream up to here is wrong/],
          [flip(bytes.length - 400), /checksum|impossible|unknown/],
          [flip(bytes.length - 1), /checksum/],
          [
            Buffer.concat([
              bytes.subarray(0, a),
              bytes.subarray(b, c),
              bytes.subarray(a, b),
              bytes.subarray(c),
            ]),
            /checksum/,
          ],
          [Buffer.concat([bytes, bytes]), /bytes follow after the end of the stream/],
        ];
        for (const [variant, reason] of variants) {
          await expect(send(store, folder, variant)).rejects.toThrow(reason);
        }
      }
      expect(await snapshotCount(store)).toBe(0);
    });
  });

  test('F-51 what does not fit is refused with both guids; an older snapshot of the chain cuts it there', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const first = await send(store, folder, fixtureBytes('fs-full'), { time: hour(0) });
      await expect(send(store, folder, fixtureBytes('fs-inc2'), { time: hour(1) })).rejects.toThrow(
        `it holds what changed since the snapshot with guid 12420150693046106040, but backup ` +
          `${first.snapshotId?.slice(0, 8)} is of the one with guid 11801127595853735247, and no stream of its chain is of that one`,
      );
      for (const [i, id] of ['fs-inc1', 'fs-inc2', 'fs-inc3'].entries()) {
        await send(store, folder, fixtureBytes(id), { time: hour(i + 1) });
      }
      // The volume went back to @s1.
      const again = await send(store, folder, fixtureBytes('fs-inc2'), { time: hour(6) });
      expect(again.newBytes).toBe(0);
      const whole = await restored(store, folder, again);
      expect(whole.equals(concat(['fs-full', 'fs-inc1', 'fs-inc2']))).toBe(true);
      const older = await send(store, folder, fixtureBytes('fs-inc1'), {
        time: hour(7),
        parent: first.snapshotId ?? null,
      });
      expect((await restored(store, folder, older)).equals(concat(['fs-full', 'fs-inc1']))).toBe(true);
      const full = await send(store, folder, fixtureBytes('zvol-8k-full'), { time: hour(8) });
      expect((await restored(store, folder, full)).equals(fixtureBytes('zvol-8k-full'))).toBe(true);
      // Neither an image nor bytes that nobody looked into are a chain.
      const path = join(folder, 'plain');
      await writeFile(path, fixtureBytes('fs-full'));
      const image = await backUp(await reopen(store), imageFile(path), { time: hour(9) });
      await expect(send(store, folder, fixtureBytes('fs-inc1'), { time: hour(10) })).rejects.toThrow(
        /but backup \w{8} holds no chain of send streams/,
      );
      await expect(restored(store, folder, image)).rejects.toThrow(/it keeps an image, no send streams/);
      // A file gets the bytes, which can be read back; a dataset gets what they say.
      const target = { kind: 'driver', driver: new ZfsDriver(), location: 'tank/none' } as const;
      const snapshotId = full.snapshotId ?? '';
      await expect(planRestore(await reopen(store), { snapshotId, target, verify: true })).rejects.toThrow(
        /it is a chain of streams: .* cannot be read back .*leave --verify out/,
      );
      await expect(restored(store, folder, full, { as: 'image' })).rejects.toThrow(
        /it keeps streams, no image/,
      );
    });
  });

  test('F-51 no receiver takes raw onto what is not, nor an increment without the large blocks of its chain', async () => {
    await inFolder(async (folder) => {
      const LARGE_BLOCKS = 1 << 19;
      const COMPRESSED = 1 << 22;
      const RAW = 1 << 24;
      const stream = (toGuid: bigint, featureFlags: number, fromGuid?: bigint): Buffer =>
        new StreamEncoder({ toGuid, featureFlags, ...(fromGuid !== undefined && { fromGuid }) }).end();
      for (const [base, increment, refusal] of [
        [0, RAW, /it is raw, and the chain of backup \w{8} is not: .*without -w/],
        [RAW, 0, /it is not raw, and the chain of backup \w{8} is raw: .*zfs send -w/],
        [LARGE_BLOCKS, COMPRESSED, /the chain of backup \w{8} has large blocks.*zfs send -L/],
      ] as const) {
        const store = await newStore();
        await send(store, folder, stream(1n, base), { time: hour(0) });
        const refused = send(store, folder, stream(2n, increment, 1n), { time: hour(1) });
        await expect(refused).rejects.toThrow(refusal);
        expect(await snapshotCount(store)).toBe(1);
        // Other features may come and go.
        await send(store, folder, stream(2n, base | COMPRESSED, 1n), { time: hour(2) });
        const whole = await send(store, folder, stream(3n, base, 2n), { time: hour(3) });
        expect((await read(store, whole)).record.streams).toHaveLength(3);
      }
      // Large blocks may begin with an increment; only what is kept counts.
      const store = await newStore();
      await send(store, folder, stream(1n, 0), { time: hour(0) });
      await send(store, folder, stream(2n, LARGE_BLOCKS, 1n), { time: hour(1) });
      await send(store, folder, stream(3n, 0, 1n), { time: hour(2) });
    });
  });

  test('F-30 backups of a chain are removed in any order, and the rest is whole after a prune', async () => {
    await inFolder(async (folder) => {
      for (const order of [
        [2, 0, 4, 1],
        [0, 3, 1, 4],
      ]) {
        const store = await newStore();
        const backups: BackupSummary[] = [];
        for (const [i, id] of CHAIN.entries()) {
          backups.push(await send(store, folder, fixtureBytes(id), { time: hour(i) }));
        }
        for (const [done, position] of order.entries()) {
          await removeAndPrune(store, backups[position]?.snapshotId ?? '');
          const gone = order.slice(0, done + 1);
          for (const [i, summary] of backups.entries()) {
            // One order step by step, of the other what it comes to.
            if (gone.includes(i) || (order[0] === 0 && gone.length < order.length)) continue;
            const whole = await restored(store, folder, summary);
            expect(whole.equals(concat(CHAIN.slice(0, i + 1)))).toBe(true);
          }
        }
      }
    });
  });

  test('F-52 unknown features and records are kept where lengths and checksums tell them apart', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const known = (encoder: StreamEncoder): StreamEncoder => encoder.write(1, 0, Buffer.alloc(512, 1));
      const unknown = known(new StreamEncoder({ featureFlags: 1 << 5 }))
        .record({ type: 42, u32: { 4: 64 }, payload: Buffer.alloc(64, 7) })
        .record({
          type: 4,
          u64: { 8: 1, 16: 0, 24: 5, 32: 0xfedcba9876543210n },
          u32: { 4: 16 },
          payload: Buffer.alloc(16, 9),
        })
        .end();
      const summary = await send(store, folder, unknown);
      expect((await restored(store, folder, summary)).equals(unknown)).toBe(true);
      expect((await read(store, summary)).record.streams?.[0]?.zfs?.features).toEqual(['bit 5']);
      // Its records say nothing of the bytes behind them.
      const opaque = new StreamEncoder({ featureFlags: 1 << 5 })
        .record({ type: 42, payload: Buffer.alloc(312, 7) })
        .end();
      await expect(send(store, folder, opaque)).rejects.toThrow(
        /its records cannot be told apart: it has features that are unknown to this version.*--as stream keeps it/,
      );
      // Nothing proves what is behind the last header.
      const behind = new StreamEncoder({ featureFlags: 1 << 5 })
        .record({ type: 5, u64: { 40: 0xfedcba9876543210n }, u32: { 4: 64 }, payload: Buffer.alloc(64, 7) })
        .bytes();
      await expect(send(store, folder, behind)).rejects.toThrow(/bytes are announced behind the end/);
      await expect(send(store, folder, behind.subarray(0, -64))).rejects.toThrow(/announced behind the end/);
      await expect(send(store, folder, new StreamEncoder({ kind: 2 }).end())).rejects.toThrow(
        /package of several streams/,
      );
      await expect(send(store, folder, new StreamEncoder({ featureFlags: 1 << 20 }).end())).rejects.toThrow(
        /the rest of an interrupted send/,
      );
      expect(await snapshotCount(store)).toBe(1);
    });
  });

  test('the trees of a chain are loaded side by side, to plan an increment and to name them again', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      let last = '';
      for (const [i, id] of CHAIN.slice(0, 4).entries())
        last = (await send(store, folder, fixtureBytes(id), { time: hour(i) })).snapshotId ?? '';
      const watched = new MostAtOnce(store);
      await withRepository(watched, async (repository) => {
        watched.most = 0;
        const read = { source: { format: 'stream' }, base: { snapshotId: last } } as ReadPlan;
        expect(await endedChain(repository, read)).toBeUndefined();
        expect(watched.most).toBe(4);
      });
      await withRepository(watched, async (repository) => {
        const base = await readChainBase(repository, last);
        const session = repository.beginBackup();
        watched.most = 0;
        await keepStreams(repository, session, base, 4, saveOptions(session, {}));
        expect(watched.most).toBe(4);
        await session.abandon();
      });
    });
  });

  test('a stream whose blobs are gone is not built upon; a storage then sends all of it, and says why', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const first = await send(store, folder, fixtureBytes('fs-full'), { time: hour(0) });
      const driver = new EverySnapshotDouble();
      const planned = async (base?: string): Promise<ReadPlan> =>
        withRepository(store, async (repository) => {
          const source = { kind: 'driver', driver, location: 'tank/files@now' } as const;
          const request = { source, volume: VOLUME, ...(base !== undefined && { base }) };
          const plan = await planBackup(repository, request);
          if (plan.source.kind !== 'driver') throw new Error('it is planned as a pipe');
          return plan.source.read;
        });
      const { snapshotId = '' } = first;
      expect(await planned()).toMatchObject({ base: { snapshotId } });
      for await (const { name } of store.list(['data'])) {
        // The trees' pack is small.
        const { length } = await store.load({ type: 'data', name });
        if (length > 64 << 10) await store.remove({ type: 'data', name });
      }
      const repairing = await Repository.open(store, PASSWORD);
      await repairing.lock('exclusive');
      await executeRepairIndex(repairing, await planRepairIndex(repairing));
      await repairing.close();
      await expect(send(store, folder, fixtureBytes('fs-inc1'), { time: hour(1) })).rejects.toThrow(
        /^back up onto backup \w{8}: \d+ blobs of its stream 0000-11801127595853735247 are missing.*\(send a full stream/,
      );
      expect(await snapshotCount(store)).toBe(1);
      const whole = await planned();
      expect(whole.base).toBeUndefined();
      expect(whole.changes.because).toMatch(
        /^the chain of backup \w{8} is damaged: \d+ blobs of its stream 0000-11801127595853735247 are missing$/,
      );
      // Where nobody can look whether another backup has brought them, that is said of nothing.
      const faulty = new FaultStore(store);
      await withRepository(faulty, async (repository) => {
        faulty.plan({ fault: 'fail', on: 'list', type: 'index' });
        const read = { source: { format: 'stream' }, base: { snapshotId } } as ReadPlan;
        await expect(endedChain(repository, read)).rejects.toThrow(/a planned fault/);
        expect(await endedChain(repository, read)).toMatch(/is damaged/);
      });
      // Who asks for this base hears of it where it is needed.
      expect(await planned(snapshotId)).toMatchObject({ base: { snapshotId } });
    });
  });
});
