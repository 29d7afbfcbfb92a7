import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { FaultStore } from './fault.ts';
import { Limits, LimitStore } from './limit.ts';
import { LocalStore } from './local/store.ts';
import { MemoryStore } from './memory.ts';
import type { Store } from './store.ts';
import { collect, failure, saved } from './store.suite.ts';

async function secondsFor(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}

describe('limit', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'limit-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function stores(): Promise<Store[]> {
    const local = new LocalStore(join(folder, `${Math.random()}`));
    await local.create();
    return [new MemoryStore(), local];
  }

  test('uploads and downloads together keep to their bytes per second, with and without pieces', async () => {
    for (const inner of await stores()) {
      const limits = new Limits({ upload: 4e6, download: 8e6 });
      const store = new LimitStore(inner, limits);
      const files: Awaited<ReturnType<typeof saved>>[] = [];
      const up = await secondsFor(async () => {
        files.push(...(await Promise.all(Array.from({ length: 4 }, () => saved(store, 'data', 500_000)))));
      });
      expect(up).toBeGreaterThan(0.25);
      expect(up).toBeLessThan(5);
      const down = await secondsFor(() =>
        Promise.all([...files, ...files].map(({ handle }) => store.load(handle))),
      );
      expect(down).toBeGreaterThan(0.25);
      expect(down).toBeLessThan(5);
    }
  });

  test('a limit can be set, changed and lifted while a transfer runs', async () => {
    const local = (await stores())[1]!;
    const limits = new Limits({ upload: 100_000 });
    const store = new LimitStore(local, limits);
    setTimeout(() => (limits.upload.bytesPerSecond = 1e9), 100);
    expect(await secondsFor(() => saved(store, 'data', 5_000_000))).toBeLessThan(10);
    limits.upload.bytesPerSecond = undefined;
    expect(await secondsFor(() => saved(store, 'data', 5_000_000))).toBeLessThan(10);
    limits.upload.bytesPerSecond = 1e6;
    expect(await secondsFor(() => saved(store, 'data', 800_000))).toBeGreaterThan(0.4);
  });

  test('a transfer that waits for its limit can be stopped', async () => {
    const store = new LimitStore((await stores())[1]!, new Limits({ upload: 1000 }));
    const signal = AbortSignal.timeout(50);
    const seconds = await secondsFor(async () => {
      const content = Buffer.alloc(1_000_000);
      const call = store.save({ type: 'data', name: 'a'.repeat(64) }, content, { signal });
      expect((await failure(call)).kind).toBe('cancelled');
    });
    expect(seconds).toBeLessThan(10);
    expect(await collect(store.list(['data']))).toEqual([]);
  });

  test('no more requests run at once than allowed, and the number can change', async () => {
    let running = 0;
    let most = 0;
    class Counting extends MemoryStore {
      override async save(...args: Parameters<Store['save']>): Promise<void> {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 3));
        await super.save(...args);
        running--;
      }
    }
    const limits = new Limits({ requests: 3 });
    const store = new LimitStore(new Counting(), limits);
    expect(store.concurrency).toBe(3);
    await Promise.all(Array.from({ length: 12 }, () => saved(store, 'data', 10)));
    expect(most).toBe(3);
    limits.requests = 5;
    await Promise.all(Array.from({ length: 20 }, () => saved(store, 'data', 10)));
    expect(most).toBe(5);
    expect(store.concurrency).toBe(5);
  });

  test('a request that waits for its turn can be stopped', async () => {
    const inner = new FaultStore(new MemoryStore(), [{ on: 'stat', fault: 'hang' }]);
    const store = new LimitStore(inner, new Limits({ requests: 1 }));
    const hanging = new AbortController();
    const first = failure(store.stat({ type: 'config', name: '' }, hanging.signal));
    const second = await failure(store.stat({ type: 'config', name: '' }, AbortSignal.timeout(20)));
    expect(second.kind).toBe('cancelled');
    hanging.abort();
    expect((await first).kind).toBe('cancelled');
  });

  test('files can be loaded during a listing with a single slot', async () => {
    const store = new LimitStore(new MemoryStore(), new Limits({ requests: 1 }));
    await saved(store, 'keys', 10);
    for await (const file of store.list(['keys'])) expect((await store.load(file)).length).toBe(10);
  });
});
