import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { DiffEncoder } from '../volumes/rbd/diff-encoder.ts';
import { DiffStream } from '../volumes/rbd/diff-stream.ts';
import { play, type Diff } from '../volumes/rbd/testing/diffs.ts';
import { Twin } from '../volumes/rbd/testing/twin.ts';
import type { BackupRequest } from './backup-plan.ts';
import type { BackupSummary } from './backup.ts';
import { hour, read, send as feed } from './testing/chains.ts';
import { backUp, inFolder, newRepository, reopen, restoreTo } from './testing/volumes.ts';

const MIB = 1 << 20;

function data(offset: number, length: number, fill: number): Diff['extents'][number] {
  return {
    offset,
    length,
    data: Buffer.from(Array.from({ length }, (_, i) => (i * fill + (i >> 8)) & 0xff)),
  };
}

function encode(diff: Diff): Buffer {
  const parts: Uint8Array[] = [];
  play(diff, new DiffEncoder((bytes) => parts.push(Buffer.from(bytes))));
  return Buffer.concat(parts);
}

async function send(
  store: Store,
  folder: string,
  stream: Uint8Array,
  request: Partial<BackupRequest> = {},
): Promise<BackupSummary> {
  return feed(store, folder, stream, request, 'rbd-diff');
}

async function restored(store: Store, folder: string, summary: BackupSummary): Promise<Buffer> {
  const path = join(folder, `image of ${summary.snapshotId ?? 'nothing'}`);
  await restoreTo(await reopen(store), summary, path, { verify: true });
  return readFile(path);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A life of an image: each diff starts where the one before led to. */
const LIFE: readonly Diff[] = [
  {
    header: { version: 1, toSnap: 's0', bytes: 5 * MIB + 4096 },
    extents: [data(MIB - 5, 2 * MIB, 3), { offset: 3 * MIB + 9, length: 100 }, data(5 * MIB, 4096, 7)],
  },
  {
    header: { version: 1, fromSnap: 's0', toSnap: 's1', bytes: 5 * MIB + 4096 },
    extents: [data(MIB + 100, 1, 5), { offset: 2 * MIB + 7, length: 512 }, data(5 * MIB + 1000, 9, 9)],
  },
  // Cut within a cell, nothing said of it.
  { header: { version: 1, fromSnap: 's1', toSnap: 's2', bytes: 2 * MIB + 1000 }, extents: [] },
  // Grown again: what was cut off is zeros.
  { header: { version: 2, fromSnap: 's2', toSnap: 's3', bytes: 7 * MIB }, extents: [data(6 * MIB, 50, 3)] },
  // Shrunk and grown in one interval.
  {
    header: { version: 1, fromSnap: 's3', toSnap: 's4', bytes: 7 * MIB },
    extents: [{ offset: MIB, length: 6 * MIB }],
  },
  { header: { version: 1, fromSnap: 's4', toSnap: 's5', bytes: 7 * MIB }, extents: [] },
  { header: { version: 1, fromSnap: 's5', toSnap: 's6', bytes: 0 }, extents: [] },
  { header: { version: 1, fromSnap: 's6', toSnap: 's7', bytes: 3 * MIB }, extents: [data(100, 5, 1)] },
];

describe('diffs of RBD images', () => {
  test('F-46 are whole images, each on its own, through growth and shrinking', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      const twin = new Twin();
      const backups: { summary: BackupSummary; expected: string }[] = [];
      for (const [i, diff] of LIFE.entries()) {
        const stream = encode(diff);
        const applied = new DiffStream(twin);
        applied.push(stream);
        applied.end();
        const summary = await send(store, folder, stream, { time: hour(i) });
        const { bytes, fromSnap, toSnap } = diff.header;
        expect(summary).toMatchObject({ format: 'image', totalBytes: bytes, readBytes: stream.length });
        expect(summary.newBytes + summary.deduplicatedBytes + summary.zeroBytes).toBe(bytes);
        expect(summary.parent).toBe(backups.at(-1)?.summary.snapshotId);
        expect((await read(store, summary)).record.rbd).toEqual({
          snap: toSnap,
          ...(fromSnap !== undefined && { fromSnap }),
        });
        backups.push({ summary, expected: sha256(twin.bytes) });
      }
      for (const { summary, expected } of backups)
        expect(sha256(await restored(store, folder, summary))).toBe(expected);
    });
  });

  test('F-45 a diff that does not fit the last backup is refused with both snaps, and nothing is saved', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      const streams = LIFE.map(encode);
      const [full = Buffer.of(), first = Buffer.of(), second = Buffer.of()] = streams;
      await expect(send(store, folder, first)).rejects.toThrow(
        /since the snap s0, and the volume has no backup of an image yet/,
      );
      const { snapshotId = '' } = await send(store, folder, full, { time: hour(0) });
      await expect(send(store, folder, second, { time: hour(1) })).rejects.toThrow(
        `read rbd diff the header: it holds what changed since the snap s1, but backup ${snapshotId.slice(0, 8)} is of the ` +
          `snap s0 (export from the snap that was backed up last (rbd export-diff --from-snap), or a full diff)`,
      );
      // A diff to the head leads to no snap: nothing can be built on it.
      const head = encode({ header: { version: 1, bytes: MIB }, extents: [data(0, 9, 3)] });
      await send(store, folder, head, { time: hour(2) });
      await expect(send(store, folder, first, { time: hour(3) })).rejects.toThrow(
        /does not know of which snap it is/,
      );
      await send(store, folder, first, { time: hour(4), parent: snapshotId });
      let count = 0;
      for await (const { snapshot } of (await reopen(store)).snapshots()) count += snapshot.paths.length;
      expect(count).toBe(3);
    });
  });

  test('a diff that is cut short, or a failing program, makes no backup', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      const stream = encode(LIFE[0]!);
      await expect(send(store, folder, stream.subarray(0, 1_500_000))).rejects.toThrow(
        /the stream ends in it, after 1500000 bytes/,
      );
      await expect(send(store, folder, Buffer.from('not a diff at all'))).rejects.toThrow(
        /this is no stream of rbd export-diff/,
      );
      const path = join(folder, 'whole');
      await writeFile(path, stream);
      const args = ['-c', `cat '${path}'; exit 3`];
      await expect(
        backUp(await reopen(store), { kind: 'rbd-diff', input: { kind: 'command', file: 'sh', args } }),
      ).rejects.toThrow(/exit status 3/);
      const found: string[] = [];
      for await (const { id } of (await reopen(store)).snapshots()) found.push(id);
      expect(found).toEqual([]);
    });
  });

  test('an image goes out as a full diff, zeros said in pieces that librbd takes', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      await newRepository(store);
      const bytes = 2 ** 31 + 5 * MIB + 77;
      const header = { version: 1, toSnap: 's', bytes } as const;
      const extents = [data(70_000, 3 * MIB, 3), data(bytes - 77, 77, 5)];
      const summary = await send(store, folder, encode({ header, extents }));
      const out = join(folder, 'diff');
      const fd = openSync(out, 'w');
      await restoreTo(await reopen(store), summary, '', { target: { kind: 'stdout', fd, as: 'rbd-diff' } });
      closeSync(fd);
      const stream = await readFile(out);
      expect(stream.length).toBeLessThan(3 * MIB + 300_000);
      const told: { offset: number; length: number; kind: string }[] = [];
      const parts: Uint8Array[] = [];
      let size = 0;
      const reader = new DiffStream({
        begin: (said) => void (size = said.bytes),
        write: (offset, length) => void told.push({ offset, length, kind: 'w' }),
        data: (_, part) => void parts.push(part),
        zero: (offset, length) => void told.push({ offset, length, kind: 'z' }),
        end: () => undefined,
      });
      reader.push(stream);
      reader.end();
      expect(size).toBe(bytes);
      // All of the image is said, in order.
      let at = 0;
      for (const { offset, length, kind } of told) {
        expect(offset).toBe(at);
        if (kind === 'z') expect(length).toBeLessThanOrEqual(2 ** 30);
        at += length;
      }
      expect(at).toBe(bytes);
      const written = Buffer.concat(parts);
      const [one, other] = extents;
      const from = 70_000 - 65_536;
      expect(sha256(written.subarray(from, from + 3 * MIB))).toBe(sha256(one?.data ?? Buffer.of()));
      expect(sha256(written.subarray(-77))).toBe(sha256(other?.data ?? Buffer.of()));
    });
  });
});
