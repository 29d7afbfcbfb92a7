import { describe, expect, test } from '@jest/globals';
import { closeSync, constants, ftruncateSync, openSync } from 'node:fs';
import { readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../process/spawn.ts';
import { noise } from '../repository/testing/bytes.ts';
import type { Repository } from '../repository/repository.ts';
import { imageFile } from './backup-plan.ts';
import { executeRestore, fileTarget, planRestore } from './restore.ts';
import { FaultStore } from '../store/fault.ts';
import { MemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { TraceStore } from '../store/trace.ts';
import {
  backUp,
  backUpImage,
  inFolder,
  newRepository,
  reopen,
  restoreTo,
  writeImage,
} from './testing/volumes.ts';

const MIB = 1 << 20;

async function count(store: Store, type: 'snapshots' | 'data' | 'index'): Promise<number> {
  return countAll(store.list([type]));
}

async function snapshots(repository: Repository): Promise<number> {
  await repository.relist();
  return countAll(repository.snapshots());
}

async function countAll(items: AsyncIterable<unknown>): Promise<number> {
  let number = 0;
  for await (const item of items) number += item === undefined ? 0 : 1;
  return number;
}

/** A path to noise that is different wherever it is read. */
async function noiseImage(folder: string, bytes: number, seed: string | number = 1): Promise<string> {
  return writeImage(join(folder, 'image'), bytes, [{ offset: 0, content: noise(seed, bytes) }]);
}

describe('a stopped backup', () => {
  test.each(['image', 'stream'] as const)(
    'leaves a valid repository, and the next run stores only what is missing (%s)',
    async (kind) => {
      await inFolder(async (folder) => {
        const memory = new MemoryStore();
        const path = await noiseImage(folder, 130 * MIB);
        const source =
          kind === 'image'
            ? imageFile(path)
            : ({ kind, input: { kind: 'command', file: 'cat', args: [path] } } as const);
        const controller = new AbortController();
        let packs = 0;
        const store = new TraceStore(memory, ({ operation, file }) => {
          if (operation === 'save' && file?.type === 'data' && ++packs === 3) controller.abort();
        });
        const repository = await newRepository(store);
        const stopped = backUp(repository, source, {}, { signal: controller.signal });
        await expect(stopped).rejects.toMatchObject({ kind: 'cancelled' });
        await repository.close();
        expect(await count(memory, 'snapshots')).toBe(0);
        const kept = await count(memory, 'data');
        expect(kept).toBeGreaterThanOrEqual(3);
        expect(kept).toBeLessThan(8);

        const again = new TraceStore(memory);
        const next = await reopen(again);
        const summary = await backUp(next, source);
        expect(summary.totalBytes).toBe(130 * MIB);
        // Packs of the first run are about 16 MiB each; an aborted upload may have got through all the same.
        expect(summary.deduplicatedBytes).toBeGreaterThan((kept - 1) * 15 * MIB);
        expect(again.totals.save.amount).toBeLessThan(131 * MIB - summary.deduplicatedBytes + MIB);
        const target = join(folder, 'restored');
        await restoreTo(next, summary, target, { verify: true });
        expect(Buffer.compare(await readFile(target), await readFile(path))).toBe(0);
      });
    },
    120_000,
  );

  test('that waits for a pipe ends at once', async () => {
    await inFolder(async (folder) => {
      const fifo = join(folder, 'fifo');
      await run({ file: 'mkfifo', args: [fifo] });
      const fd = openSync(fifo, constants.O_RDWR);
      const controller = new AbortController();
      const repository = await newRepository(new MemoryStore());
      const stopped = backUp(
        repository,
        { kind: 'stream', input: { kind: 'fd', fd } },
        {},
        { signal: controller.signal },
      );
      setTimeout(() => controller.abort(), 200);
      await expect(stopped).rejects.toMatchObject({ kind: 'cancelled' });
      closeSync(fd);
    });
  });

  test('ends at once though a child of its producer keeps the pipe open', async () => {
    const child =
      "require('child_process').spawn('sleep', ['30'], { stdio: ['ignore', 'inherit', 'ignore'] })";
    const input = { kind: 'command', file: process.execPath, args: ['-e', `${child}.unref()`] } as const;
    const controller = new AbortController();
    const repository = await newRepository(new MemoryStore());
    const stopped = backUp(repository, { kind: 'stream', input }, {}, { signal: controller.signal });
    setTimeout(() => controller.abort(), 700);
    const begun = performance.now();
    await expect(stopped).rejects.toMatchObject({ kind: 'cancelled' });
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  test('was stopped before it began', async () => {
    await inFolder(async (folder) => {
      const memory = new MemoryStore();
      const path = await noiseImage(folder, 3 * MIB);
      const options = { signal: AbortSignal.abort() };
      await expect(backUpImage(await newRepository(memory), path, {}, options)).rejects.toMatchObject({
        kind: 'cancelled',
      });
      expect(await count(memory, 'snapshots')).toBe(0);
    });
  });
});

describe('a store that fails', () => {
  test('fails the backup with its own error; the next run completes and reuses what was stored', async () => {
    await inFolder(async (folder) => {
      const memory = new MemoryStore();
      const path = await noiseImage(folder, 100 * MIB);
      const faulty = new FaultStore(memory, [{ fault: 'fail', on: 'save', type: 'data', nth: 3 }]);
      const repository = await newRepository(faulty);
      await expect(backUpImage(repository, path)).rejects.toThrow(/a planned fault/);
      expect(await snapshots(repository)).toBe(0);
      const next = await reopen(memory);
      const summary = await backUpImage(next, path);
      expect(summary.deduplicatedBytes).toBeGreaterThan(0);
      expect(summary.newBytes + summary.deduplicatedBytes).toBe(100 * MIB);
      await restoreTo(next, summary, join(folder, 'restored'), { verify: true });
    });
  });

  test.each(['index', 'snapshots'] as const)('at the %s file leaves no snapshot', async (type) => {
    await inFolder(async (folder) => {
      const memory = new MemoryStore();
      const path = await noiseImage(folder, 3 * MIB);
      const faulty = new FaultStore(memory, [{ fault: 'fail', on: 'save', type, times: 5 }]);
      const repository = await newRepository(faulty);
      await expect(backUpImage(repository, path)).rejects.toThrow(/a planned fault/);
      expect(await count(memory, 'snapshots')).toBe(0);
      faulty.heal();
      // The same process may try again: claims of blobs that never came were given back.
      const summary = await backUpImage(repository, path);
      await restoreTo(await reopen(memory), summary, join(folder, 'restored'), { verify: true });
    });
  });

  test('or lies is found before anything wrong reaches the target', async () => {
    await inFolder(async (folder) => {
      const memory = new MemoryStore();
      const path = await noiseImage(folder, 5 * MIB);
      const summary = await backUpImage(await newRepository(memory), path);
      // The seventh pack range is the first of the image: before it come the root, volume.json (each twice) and two trees.
      for (const flaw of [
        { fault: 'flipped-bit', on: 'load', type: 'data', bit: 12_345_678, nth: 7 } as const,
        { fault: 'fail', on: 'load', type: 'data', nth: 7 } as const,
      ]) {
        const target = join(folder, `restored-${flaw.fault}`);
        const faulty = new FaultStore(memory, [flaw]);
        const reader = await reopen(faulty);
        await expect(restoreTo(reader, summary, target)).rejects.toThrow(/SHA-256|a planned fault/);
        expect(faulty.struck).toBe(1);
        // Half a volume must not look like a whole one.
        await expect(stat(target)).rejects.toMatchObject({ code: 'ENOENT' });
      }
    });
  });
});

describe('a source', () => {
  test('that shrinks while it is read fails the backup', async () => {
    await inFolder(async (folder) => {
      const memory = new MemoryStore();
      const path = await noiseImage(folder, 100 * MIB);
      const fd = openSync(path, 'r+');
      let packs = 0;
      const store = new TraceStore(memory, ({ operation, file }) => {
        if (operation === 'save' && file?.type === 'data' && ++packs === 1) ftruncateSync(fd, 50 * MIB);
      });
      await expect(backUpImage(await newRepository(store), path, {}, { workers: 1 })).rejects.toThrow(
        /back up: the source ends at byte 52428800, before its size of the start/,
      );
      closeSync(fd);
      expect(await count(memory, 'snapshots')).toBe(0);
      // Back to a size: the next backup is of what is there then.
      await truncate(path, 50 * MIB);
      const next = await reopen(memory);
      const summary = await backUpImage(next, path);
      expect(summary.totalBytes).toBe(50 * MIB);
      expect(summary.deduplicatedBytes).toBeGreaterThan(10 * MIB);
    });
  });

  test('that does not exist is named, and nothing is written', async () => {
    const store = new TraceStore(new MemoryStore());
    const repository = await newRepository(store);
    const saves = store.totals.save.calls;
    await expect(backUpImage(repository, '/nonexistent/image')).rejects.toThrow(
      'open volume /nonexistent/image: no such file or device (check the path)',
    );
    expect(store.totals.save.calls).toBe(saves);
  });

  test.each([
    [
      'ends with a status',
      'process.stdout.write(Buffer.alloc(3e6), () => { console.error("disk gone"); process.exit(3) })',
      /exit status 3: disk gone/,
    ],
    [
      'dies by a signal',
      'process.stdout.write(Buffer.alloc(3e6), () => process.kill(process.pid, "SIGKILL"))',
      /ended by SIGKILL/,
    ],
    ['says nothing at all and fails', 'process.exit(1)', /exit status 1/],
  ])('a producer that %s fails the backup: there is no snapshot', async (_, code, message) => {
    const memory = new MemoryStore();
    const input = { kind: 'command', file: process.execPath, args: ['-e', code] } as const;
    for (const kind of ['stream', 'image-stream'] as const) {
      const repository = await newRepository(new TraceStore(memory)).catch(() => reopen(memory));
      await expect(backUp(repository, { kind, input })).rejects.toThrow(message);
    }
    expect(await count(memory, 'snapshots')).toBe(0);
  });

  test.each(['stream', 'image-stream'] as const)(
    'a pipe through which nothing comes is no volume (%s)',
    async (kind) => {
      const memory = new MemoryStore();
      const repository = await newRepository(memory);
      const fd = openSync('/dev/null', 'r');
      const backup = backUp(repository, { kind, input: { kind: 'fd', fd } });
      await expect(backup).rejects.toThrow(/^back up \S+: not one byte came through the pipe \(/);
      closeSync(fd);
      expect(await count(memory, 'snapshots')).toBe(0);
    },
  );

  test('a producer that is not installed is named', async () => {
    const repository = await newRepository(new MemoryStore());
    const input = { kind: 'command', file: 'no-such-program', args: [] } as const;
    await expect(backUp(repository, { kind: 'stream', input })).rejects.toThrow(
      /no-such-program is not installed/,
    );
  });
});

describe('a dry run', () => {
  test('reads everything, says what it would store, and stores nothing', async () => {
    await inFolder(async (folder) => {
      const store = new TraceStore(new MemoryStore());
      const repository = await newRepository(store);
      const path = await noiseImage(folder, 20 * MIB);
      const before = store.totals.save.calls;
      const dry = await backUpImage(repository, path, { dryRun: true });
      expect(store.totals.save.calls).toBe(before);
      expect(dry).toMatchObject({ snapshotId: undefined, readBytes: 20 * MIB, newBytes: 20 * MIB });
      expect(dry.storedBytes).toBeGreaterThan(20 * MIB);
      // What it claimed it gave back: the real run stores everything.
      const real = await backUpImage(repository, path);
      expect(real).toMatchObject({ newBytes: 20 * MIB, storedBytes: dry.storedBytes });
      expect(await backUpImage(repository, path, { dryRun: true })).toMatchObject({
        newBytes: 0,
        deduplicatedBytes: 20 * MIB,
        storedBytes: 0,
      });
    });
  });
});

describe('a store that does not answer any more', () => {
  test('does not keep a backup from being stopped, whatever it is storing', async () => {
    await inFolder(async (folder) => {
      const path = await noiseImage(folder, 3 * MIB);
      // The pack of a worker, the one of volume.json, the one of trees.
      for (let nth = 1; nth <= 3; nth++) {
        const store = new FaultStore(new MemoryStore());
        const repository = await newRepository(store);
        store.plan({ on: 'save', type: 'data', nth, fault: 'hang' });
        const stop = new AbortController();
        const struck = setInterval(() => store.struck > 0 && stop.abort(), 10);
        const stopped = backUpImage(repository, path, {}, { signal: stop.signal, workers: 1 });
        await expect(stopped.finally(() => clearInterval(struck))).rejects.toMatchObject({
          kind: 'cancelled',
        });
        expect(await snapshots(repository)).toBe(0);
      }
    });
  }, 120_000);

  test('does not keep a restore from being stopped, whatever it is reading', async () => {
    await inFolder(async (folder) => {
      const memory = new MemoryStore();
      const summary = await backUpImage(await newRepository(memory), await noiseImage(folder, 3 * MIB));
      const target = join(folder, 'restored');
      for (let nth = 1, struck = 1; struck === 1; nth++) {
        const store = new FaultStore(memory);
        const repository = await reopen(store);
        const request = {
          snapshotId: summary.snapshotId ?? '',
          target: fileTarget(target),
        };
        const plan = await planRestore(repository, request);
        store.plan({ on: 'load', type: 'data', nth, fault: 'hang' });
        const stop = new AbortController();
        const restored = executeRestore(repository, plan, { signal: stop.signal });
        const settled = restored.then(
          () => 'ended',
          () => 'ended',
        );
        while (store.struck === 0 && (await Promise.race([settled, delay(5)])) !== 'ended');
        stop.abort();
        await settled;
        struck = store.struck;
        if (struck === 0) await restored;
        else {
          await expect(restored).rejects.toMatchObject({ kind: 'cancelled' });
          await expect(stat(target)).rejects.toMatchObject({ code: 'ENOENT' });
        }
      }
    });
  }, 120_000);
});

describe('a restore', () => {
  test('that is stopped leaves no file', async () => {
    await inFolder(async (folder) => {
      const memory = new MemoryStore();
      const path = await noiseImage(folder, 60 * MIB);
      const summary = await backUpImage(await newRepository(memory), path);
      const controller = new AbortController();
      let loads = 0;
      const store = new TraceStore(memory, ({ operation, file }) => {
        if (operation === 'load' && file?.type === 'data' && ++loads === 6) controller.abort();
      });
      const target = join(folder, 'restored');
      const stopped = restoreTo(await reopen(store), summary, target, {}, { signal: controller.signal });
      await expect(stopped).rejects.toMatchObject({ kind: 'cancelled' });
      await expect(stat(target)).rejects.toMatchObject({ code: 'ENOENT' });
    });
  });

  test('into a pipe whose reader has stopped reading ends at once', async () => {
    await inFolder(async (folder) => {
      const repository = await newRepository(new MemoryStore());
      const summary = await backUpImage(repository, await noiseImage(folder, 20 * MIB));
      const fifo = join(folder, 'fifo');
      await run({ file: 'mkfifo', args: [fifo] });
      const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
      const target = { kind: 'stdout', fd: openSync(fifo, constants.O_WRONLY) } as const;
      const controller = new AbortController();
      const stopped = restoreTo(repository, summary, '', { target }, { signal: controller.signal });
      setTimeout(() => controller.abort(), 500);
      await expect(stopped).rejects.toMatchObject({ kind: 'cancelled' });
      // Only now does the system call come back.
      closeSync(reader);
      closeSync(target.fd);
    });
  });

  test('to a pipe cannot be verified afterwards, and says so before it begins', async () => {
    await inFolder(async (folder) => {
      const repository = await newRepository(new MemoryStore());
      const summary = await backUpImage(repository, await noiseImage(folder, MIB));
      const target = { kind: 'stdout', fd: 1 } as const;
      await expect(restoreTo(repository, summary, '', { target, verify: true })).rejects.toMatchObject({
        kind: 'usage',
      });
    });
  });
});
