import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MemoryStore } from '../store/memory.ts';
import { fixtureBytes, volumeSnapshot } from '../volumes/zfs/testing/fixtures.ts';
import type { Store } from '../store/store.ts';
import { imageFile, type BackupRequest } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import { hour, read, send as feed } from './testing/chains.ts';
import { backUp, inFolder, newRepository, reopen, restoreTo } from './testing/volumes.ts';

const MIB = 1 << 20;

async function send(
  store: Store,
  folder: string,
  stream: Uint8Array,
  request: Partial<BackupRequest> = {},
): Promise<BackupSummary> {
  return feed(store, folder, stream, request, 'zvol-stream');
}

async function restored(store: Store, folder: string, summary: BackupSummary): Promise<string> {
  const path = join(folder, `image of ${summary.snapshotId ?? 'nothing'}`);
  await restoreTo(await reopen(store), summary, path, { verify: true });
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

describe('a zvol’s send streams', () => {
  test.each([
    ['ext4', 'zvol-ext4', ['full', 'inc1', 'inc2', 'inc3', 'inc4']],
    ['rnd8k', 'zvol-8k', ['full', 'inc1', 'inc2', 'inc3']],
  ])('of %s are whole images, each on its own', async (volume, name, streams) => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      const backups: BackupSummary[] = [];
      for (const [i, stream] of streams.entries()) {
        const bytes = fixtureBytes(`${name}-${stream}`);
        const summary = await send(store, folder, bytes, { time: hour(i) });
        const { volsize, guid } = volumeSnapshot(volume, `s${i}`);
        expect(summary).toMatchObject({ format: 'image', totalBytes: volsize, readBytes: bytes.length });
        expect(summary.newBytes + summary.deduplicatedBytes + summary.zeroBytes).toBe(volsize);
        expect(summary.parent).toBe(backups.at(-1)?.snapshotId);
        expect((await read(store, summary)).record.zfs).toEqual({
          guid,
          ...(i > 0 && { fromGuid: volumeSnapshot(volume, `s${i - 1}`).guid }),
          snapshot: `tank/src/${volume}@s${i}`,
          volblocksize: volume === 'ext4' ? 16384 : 8192,
        });
        backups.push(summary);
      }
      for (const [i, summary] of backups.entries()) {
        expect(await restored(store, folder, summary)).toBe(volumeSnapshot(volume, `s${i}`).sha256);
      }
    });
  });

  test('an increment reads and stores what it holds, and an empty one nothing', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      const zeros: number[] = [];
      for (const [i, stream] of ['full', 'inc1', 'inc2', 'inc3'].entries()) {
        const { zeroBytes } = await send(store, folder, fixtureBytes(`zvol-ext4-${stream}`), {
          time: hour(i),
        });
        zeros.push(zeroBytes / MIB);
      }
      // What an increment frees that was free before is no change; the last one grew the volume.
      expect(zeros).toEqual([46, 0, 8, 15]);
      const empty = await send(store, folder, fixtureBytes('zvol-ext4-inc4'), { time: hour(9) });
      expect(empty).toMatchObject({ newBytes: 0, zeroBytes: 0, deduplicatedBytes: 80 * MIB, readBytes: 624 });
    });
  });

  test('packed blocks, a full stream over an older backup, and a full one again', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      await send(store, folder, fixtureBytes('zvol-8k-full'), { time: hour(0) });
      const full = await send(store, folder, fixtureBytes('zvol-ext4-full'), { time: hour(1) });
      const packed = await send(store, folder, fixtureBytes('zvol-ext4-inc1-c'), { time: hour(2) });
      expect(await restored(store, folder, packed)).toBe(volumeSnapshot('ext4', 's1').sha256);
      const again = await send(store, folder, fixtureBytes('zvol-ext4-full'), { time: hour(3) });
      expect(again.newBytes).toBe(0);
      expect(await restored(store, folder, again)).toBe(volumeSnapshot('ext4', 's0').sha256);
      const repository = await reopen(store);
      expect(await repository.loadSnapshot(again.snapshotId ?? '')).toMatchObject({
        tree: (await repository.loadSnapshot(full.snapshotId ?? '')).tree,
      });
    });
  });

  test('F-44 an increment that does not fit the last backup is refused with both guids, and nothing is saved', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      await expect(send(store, folder, fixtureBytes('zvol-8k-inc1'))).rejects.toThrow(
        /since the snapshot with guid 8630424881063117644, and the volume has no backup yet/,
      );
      const { snapshotId = '' } = await send(store, folder, fixtureBytes('zvol-8k-full'));
      await expect(send(store, folder, fixtureBytes('zvol-8k-inc3'))).rejects.toThrow(
        `read ZFS send stream record 1 (BEGIN) at byte 0: it holds what changed since the snapshot with guid ` +
          `2013623436283363466, but backup ${snapshotId.slice(0, 8)} is of the one with guid 8630424881063117644 ` +
          `(send from the snapshot that was backed up last (zfs send -i), or a full stream)`,
      );
      // The last backup may be of something else, or of no known snapshot.
      const path = join(folder, 'disk');
      await writeFile(path, Buffer.alloc(8 * MIB, 1));
      const later = { time: new Date(Date.now() + 3_600_000) };
      await backUp(await reopen(store), imageFile(path), later);
      await expect(send(store, folder, fixtureBytes('zvol-8k-inc1'))).rejects.toThrow(
        /does not know of which snapshot it is/,
      );
      const inc1 = await send(store, folder, fixtureBytes('zvol-8k-inc1'), { parent: snapshotId });
      expect(await restored(store, folder, inc1)).toBe(volumeSnapshot('rnd8k', 's1').sha256);
      let count = 0;
      for await (const { snapshot } of (await reopen(store)).snapshots()) count += snapshot.paths.length;
      expect(count).toBe(3);
    });
  });

  test('a stream that is cut, changed or no zvol’s makes no backup', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      const bytes = fixtureBytes('zvol-8k-full');
      await expect(send(store, folder, bytes.subarray(0, 1_500_000))).rejects.toThrow(
        /it stops after 1500000 bytes, before its end \(zfs send did not finish/,
      );
      const changed = Buffer.from(bytes);
      changed[1_400_000] = (changed[1_400_000] ?? 0) ^ 4;
      await expect(send(store, folder, changed)).rejects.toThrow(/the checksum of the stream .* is wrong/);
      await expect(send(store, folder, fixtureBytes('fs-inc4'))).rejects.toThrow(/of a filesystem/);
      const found: string[] = [];
      for await (const { id } of (await reopen(store)).snapshots()) found.push(id);
      expect(found).toEqual([]);
    });
  });

  test('a dry run compares and writes nothing', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      await send(store, folder, fixtureBytes('zvol-8k-full'), { time: hour(0) });
      const dry = await send(store, folder, fixtureBytes('zvol-8k-inc1'), {
        time: hour(1),
        dryRun: true,
      });
      expect(dry.snapshotId).toBeUndefined();
      expect(dry.newBytes).toBeGreaterThan(0);
      const wet = await send(store, folder, fixtureBytes('zvol-8k-inc1'), { time: hour(1) });
      expect(wet).toMatchObject({ newBytes: dry.newBytes, deduplicatedBytes: dry.deduplicatedBytes });
      expect(await restored(store, folder, wet)).toBe(volumeSnapshot('rnd8k', 's1').sha256);
    });
  });

  test('a base whose blobs are gone is refused', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      await send(store, folder, fixtureBytes('zvol-8k-full'), { time: hour(0) });
      for await (const { name } of store.list(['data'])) {
        // The trees' pack is small.
        const { length } = await store.load({ type: 'data', name });
        if (length > 64 << 10) await store.remove({ type: 'data', name });
      }
      await expect(send(store, folder, fixtureBytes('zvol-8k-inc1'), { time: hour(1) })).rejects.toThrow(
        /^back up onto backup \w{8} at byte \d+: data blob \w+: .*no such file.* \(read all of it \(send a full stream/,
      );
    });
  });

  test('a base whose blobs were changed is refused', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      await send(store, folder, fixtureBytes('zvol-8k-full'), { time: hour(0) });
      for await (const { name } of store.list(['data'])) {
        const bytes = await store.load({ type: 'data', name });
        if (bytes.length <= 64 << 10) continue;
        for (let at = 999; at < bytes.length; at += 50_000) bytes[at] = (bytes[at] ?? 0) ^ 1;
        await store.remove({ type: 'data', name });
        await store.save({ type: 'data', name }, bytes, {});
      }
      await expect(send(store, folder, fixtureBytes('zvol-8k-inc1'), { time: hour(1) })).rejects.toThrow(
        /^back up onto backup \w{8} at byte \d+: data blob \w+: (its MAC|the content) does not .* \(read all of it \(send a full stream/,
      );
    });
  });
});
