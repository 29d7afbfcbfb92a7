import { describe, expect, test } from '@jest/globals';
import { closeSync, openSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../process/spawn.ts';
import { noise, prose } from '../repository/testing/bytes.ts';
import { MemoryStore } from '../store/memory.ts';
import { imageFile, planBackup } from './backup-plan.ts';
import { fileTarget, planRestore } from './restore.ts';
import {
  backUp,
  backUpImage,
  inFolder,
  newRepository,
  reopen,
  restoreTo,
  VOLUME,
  writeImage,
  type Part,
} from './testing/volumes.ts';

const MIB = 1 << 20;

interface Shape {
  readonly name: string;
  readonly bytes: number;
  readonly parts: readonly Part[];
}

const SHAPES: readonly Shape[] = [
  { name: 'an empty image', bytes: 0, parts: [] },
  { name: 'one byte', bytes: 1, parts: [{ offset: 0, content: Buffer.of(7) }] },
  { name: 'one byte of hole', bytes: 1, parts: [] },
  { name: 'exactly one cell', bytes: MIB, parts: [{ offset: 0, content: noise(1, MIB) }] },
  { name: 'a cell and a byte', bytes: MIB + 1, parts: [{ offset: 0, content: noise(2, MIB + 1) }] },
  { name: 'an odd size', bytes: 5_000_017, parts: [{ offset: 0, content: prose(3, 5_000_017) }] },
  { name: 'nothing but a hole', bytes: 10 * MIB, parts: [] },
  { name: 'a hole that ends in a short cell', bytes: 10 * MIB + 4096, parts: [] },
  {
    name: 'holes at both ends and a written zero cell',
    bytes: 9 * MIB + 511,
    parts: [
      { offset: 3 * MIB, content: noise(4, 100) },
      { offset: 5 * MIB, content: Buffer.alloc(MIB) },
      { offset: 6 * MIB + 17, content: prose(5, MIB) },
    ],
  },
  {
    name: 'data in the short last cell alone',
    bytes: 3 * MIB + 9,
    parts: [{ offset: 3 * MIB + 8, content: Buffer.of(1) }],
  },
  {
    name: 'the same cell again and again',
    bytes: 40 * MIB,
    parts: Array.from({ length: 30 }, (_, i) => ({ offset: (i + 3) * MIB, content: noise(i % 2, MIB) })),
  },
];

describe.each(SHAPES)('an image of $name', ({ bytes, parts }) => {
  test('comes back byte for byte, from a file and from a stream', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      const repository = await newRepository(store);
      const path = await writeImage(join(folder, 'image'), bytes, parts);
      const expected = await readFile(path);

      const fromFile = await backUpImage(repository, path);
      expect(fromFile).toMatchObject({ totalBytes: bytes, format: 'image', parent: undefined });
      expect(fromFile.newBytes + fromFile.deduplicatedBytes + fromFile.zeroBytes).toBe(bytes);

      // As a backup of another process would, this one sees the snapshot of the first.
      await repository.relist();
      const input = { kind: 'command', file: 'cat', args: [path] } as const;
      const fromStream = await backUp(repository, { kind: 'image-stream', input });
      expect(fromStream).toMatchObject({ totalBytes: bytes, newBytes: 0, parent: fromFile.snapshotId });
      expect(fromStream.deduplicatedBytes + fromStream.zeroBytes).toBe(bytes);

      const reader = await reopen(store);
      for (const [i, summary] of [fromFile, fromStream].entries()) {
        const target = join(folder, `restored-${i}`);
        const restored = await restoreTo(reader, summary, target, { verify: true });
        expect(restored).toMatchObject({ bytesRestored: bytes, verified: true });
        expect(restored.bytesWritten + restored.bytesSkippedZero).toBe(bytes);
        expect(Buffer.compare(await readFile(target), expected)).toBe(0);
      }
      const dense = join(folder, 'dense');
      expect(await restoreTo(reader, fromFile, dense, { sparse: false })).toMatchObject({
        bytesWritten: bytes,
        bytesSkippedZero: 0,
      });
      expect(Buffer.compare(await readFile(dense), expected)).toBe(0);

      const pipe = join(folder, 'pipe');
      const out = openSync(pipe, 'w');
      const piped = await restoreTo(reader, fromFile, '', { target: { kind: 'stdout', fd: out } });
      closeSync(out);
      expect(piped.bytesWritten).toBe(bytes);
      expect(Buffer.compare(await readFile(pipe), expected)).toBe(0);
    });
  });
});

describe.each([
  ['nothing', Buffer.alloc(0)],
  ['one byte', Buffer.of(1)],
  ['less than the shortest chunk', noise('short', 300_000)],
  ['zeros', Buffer.alloc(5 * MIB + 3)],
  ['text and noise', Buffer.concat([prose('text', 20 * MIB), noise('noise', 20 * MIB + 1)])],
])('a stream of %s', (_, content) => {
  test('comes back byte for byte, and costs nothing the second time', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      const repository = await newRepository(store);
      const path = join(folder, 'stream');
      await writeFile(path, content);
      const source = { kind: 'stream', input: { kind: 'command', file: 'cat', args: [path] } } as const;
      const first = await backUp(repository, source);
      expect(first).toMatchObject({ totalBytes: content.length, format: 'stream' });
      const second = await backUp(await reopen(store), source);
      expect(second).toMatchObject({ newBytes: 0, storedBytes: 0, packs: 0, parent: first.snapshotId });

      const reader = await reopen(store);
      const target = join(folder, 'restored');
      expect(await restoreTo(reader, second, target, { verify: true })).toMatchObject({
        bytesRestored: content.length,
      });
      expect(Buffer.compare(await readFile(target), content)).toBe(0);
      const out = openSync(join(folder, 'piped'), 'w');
      await restoreTo(reader, first, '', { target: { kind: 'stdout', fd: out } });
      closeSync(out);
      expect(Buffer.compare(await readFile(join(folder, 'piped')), content)).toBe(0);
    });
  });
});

describe.each(['off', 'fastest', 'auto', 'max'] as const)('compression %s', (compression) => {
  test('changes what is stored, never what comes back', async () => {
    await inFolder(async (folder) => {
      const store = new MemoryStore();
      const repository = await newRepository(store, { compression });
      const path = await writeImage(join(folder, 'image'), 6 * MIB, [
        { offset: 0, content: prose(1, 4 * MIB) },
        { offset: 4 * MIB, content: noise(2, MIB) },
      ]);
      const summary = await backUpImage(repository, path, { compression });
      if (compression === 'off') expect(summary.storedBytes).toBeGreaterThan(5 * MIB);
      else expect(summary.storedBytes).toBeLessThan(4 * MIB);
      const target = join(folder, 'restored');
      await restoreTo(await reopen(store), summary, target);
      expect(Buffer.compare(await readFile(target), await readFile(path))).toBe(0);
    });
  });
});

test('a repository of version 1 stores plain and gives back the same', async () => {
  await inFolder(async (folder) => {
    const store = new MemoryStore();
    const repository = await newRepository(store, { version: 1 });
    const path = await writeImage(join(folder, 'image'), 3 * MIB, [
      { offset: 0, content: prose(1, 3 * MIB) },
    ]);
    const summary = await backUpImage(repository, path);
    expect(summary.storedBytes).toBeGreaterThan(3 * MIB);
    const target = join(folder, 'restored');
    await restoreTo(await reopen(store), summary, target);
    expect(Buffer.compare(await readFile(target), await readFile(path))).toBe(0);
  });
});

test('an incremental backup stores what changed; both backups come back', async () => {
  await inFolder(async (folder) => {
    const store = new MemoryStore();
    const path = await writeImage(join(folder, 'image'), 64 * MIB, [
      { offset: 0, content: noise('base', 40 * MIB) },
    ]);
    const before = await readFile(path);
    const first = await backUpImage(await newRepository(store), path);
    await writeImage(path, 64 * MIB, [
      { offset: 7 * MIB + 5, content: Buffer.from('changed') },
      { offset: 50 * MIB, content: noise('new', 2 * MIB) },
    ]);
    const second = await backUpImage(await reopen(store), path);
    expect(second).toMatchObject({ parent: first.snapshotId, newBytes: 3 * MIB });
    expect(second.metadataBytes).toBeLessThan(10_000);
    const reader = await reopen(store);
    for (const [summary, expected] of [
      [first, before],
      [second, await readFile(path)],
    ] as const) {
      const target = join(folder, `restored-${summary.snapshotId}`);
      await restoreTo(reader, summary, target, { verify: true });
      expect(Buffer.compare(await readFile(target), expected)).toBe(0);
    }
  });
});

test('an image of two segments comes back from a stream through a pipe', async () => {
  await inFolder(async (folder) => {
    const repository = await newRepository(new MemoryStore());
    const bytes = 1027 * MIB;
    const path = await writeImage(join(folder, 'image'), bytes, [
      { offset: 1023 * MIB, content: noise(6, 2 * MIB) },
      { offset: 1026 * MIB, content: prose(7, MIB) },
    ]);
    const source = openSync(path, 'r');
    const summary = await backUp(repository, { kind: 'image-stream', input: { kind: 'fd', fd: source } });
    closeSync(source);
    expect(summary).toMatchObject({ totalBytes: bytes, newBytes: 3 * MIB, zeroBytes: 1024 * MIB });
    const pipe = openSync(join(folder, 'pipe'), 'w');
    await restoreTo(repository, summary, '', { target: { kind: 'stdout', fd: pipe } });
    closeSync(pipe);
    await run({ file: 'cmp', args: [path, join(folder, 'pipe')] });
  });
}, 60_000);

test('a file that exists and is larger ends with the size of the image', async () => {
  await inFolder(async (folder) => {
    const repository = await newRepository(new MemoryStore());
    const path = await writeImage(join(folder, 'image'), 3 * MIB, [{ offset: MIB, content: noise(1, 1000) }]);
    const summary = await backUpImage(repository, path);
    const target = join(folder, 'larger');
    await writeFile(target, Buffer.alloc(8 * MIB, 255));
    await expect(restoreTo(repository, summary, target)).rejects.toThrow(/exists and has 8388608 bytes/);
    await restoreTo(repository, summary, target, { force: true, verify: true });
    expect(Buffer.compare(await readFile(target), await readFile(path))).toBe(0);
  });
});

test('a sparse image takes no more room on the way back than it had', async () => {
  await inFolder(async (folder) => {
    const repository = await newRepository(new MemoryStore());
    const path = await writeImage(join(folder, 'image'), 500 * MIB, [
      { offset: 123 * MIB, content: noise(1, MIB) },
    ]);
    const summary = await backUpImage(repository, path);
    expect(summary.readBytes).toBeLessThanOrEqual(2 * MIB);
    const target = join(folder, 'restored');
    const restored = await restoreTo(repository, summary, target);
    expect(restored.bytesWritten).toBeLessThanOrEqual(2 * MIB);
    expect((await stat(target)).blocks).toBeLessThanOrEqual((await stat(path)).blocks + 2048);
  });
});

test('plans are plain values that tell what will happen', async () => {
  await inFolder(async (folder) => {
    const repository = await newRepository(new MemoryStore());
    const path = await writeImage(join(folder, 'image'), 9 * MIB, [{ offset: 0, content: noise(1, MIB) }]);
    const time = new Date('2026-01-02T03:04:05.678Z');
    const source = imageFile(path);
    const plan = await planBackup(repository, {
      volume: VOLUME,
      source,
      host: 'c1',
      time,
      tags: ['nightly'],
    });
    expect(JSON.parse(JSON.stringify(plan))).toEqual({
      volume: VOLUME,
      source: {
        kind: 'driver',
        driver: { name: 'file', readsWhole: true },
        read: {
          source: {
            driver: 'file',
            location: path,
            format: 'image',
            bytes: 9 * MIB,
            record: { kind: 'file' },
          },
          everything: false,
          changes: { mechanism: 'allocated-extents', because: 'a file keeps no list of changes' },
          estimateBytes: 9 * MIB,
        },
      },
      format: 'image',
      driver: 'file',
      host: 'c1',
      tags: ['volume=shop/database', 'driver=file', 'format=image', 'nightly'],
      time: '2026-01-02T03:04:05.678Z',
      compression: 'auto',
      sample: {},
      dryRun: false,
      totalBytes: 9 * MIB,
    });
    const summary = await backUpImage(repository, path, { time });
    const target = join(folder, 'new');
    const restore = await planRestore(repository, {
      snapshotId: summary.snapshotId ?? '',
      target: fileTarget(target),
    });
    expect(JSON.parse(JSON.stringify(restore))).toEqual({
      snapshotId: summary.snapshotId,
      time: '2026-01-02T03:04:05.678Z',
      volume: VOLUME,
      format: 'image',
      totalBytes: 9 * MIB,
      target: {
        kind: 'driver',
        driver: { name: 'file', readsWhole: true },
        plan: { location: target, bytes: 9 * MIB, action: 'create', kind: 'new-file' },
      },
      sparse: true,
      verify: false,
    });
    // A plan touches nothing.
    await expect(stat(target)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
