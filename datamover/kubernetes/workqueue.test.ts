import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { Backoff } from './backoff.ts';
import { runWorkers, WorkQueue, type WorkerOptions } from './workqueue.ts';

/** Runs workers until `until` resolves; gives what failed. */
async function work(
  options: Pick<WorkerOptions, 'queue' | 'workers' | 'reconcile'>,
  until: Promise<unknown>,
): Promise<string[]> {
  const stop = new AbortController();
  const failures: string[] = [];
  const running = runWorkers({
    ...options,
    onFailure: (key, error) => failures.push(`${key}: ${String(error)}`),
    signal: stop.signal,
  });
  await until;
  stop.abort();
  await running;
  return failures;
}

describe('Work queue', () => {
  test('hands out keys in the order of their coming, each once', async () => {
    const queue = new WorkQueue();
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect(queue.length).toBe(3);
    expect([await queue.take(), await queue.take(), await queue.take()]).toEqual(['a', 'b', 'c']);
    expect(queue.length).toBe(0);
  });

  test('gives a key to one worker at a time, and again when it was added meanwhile', async () => {
    const queue = new WorkQueue();
    queue.add('a');
    expect(await queue.take()).toBe('a');
    queue.add('a');
    queue.add('a');
    queue.add('b');
    expect(await queue.take()).toBe('b');
    const next = queue.take();
    queue.done('a');
    expect(await next).toBe('a');
    queue.done('a');
    expect(queue.length).toBe(0);
  });

  test('a key that is added without end lets the others pass', async () => {
    const queue = new WorkQueue();
    const order: string[] = [];
    const finished = Promise.withResolvers<undefined>();
    const reconcile = async (key: string): Promise<undefined> => {
      order.push(key);
      if (key === 'greedy') queue.add('greedy');
      if (order.filter((done) => done !== 'greedy').length === 3) finished.resolve(undefined);
    };
    queue.add('greedy');
    for (const key of ['a', 'b', 'c']) queue.add(key);
    await work({ queue, workers: 1, reconcile }, finished.promise);
    expect(order.slice(0, 4)).toEqual(['greedy', 'a', 'b', 'c']);
  });

  test('never works on one key twice at a time, whatever the workers and the adds', async () => {
    const queue = new WorkQueue();
    const active = new Set<string>();
    const counts = new Map<string, number>();
    let overlaps = 0;
    const keys = Array.from({ length: 5 }, (_, i) => `key-${i}`);
    const reconcile = async (key: string): Promise<undefined> => {
      if (active.has(key)) overlaps += 1;
      active.add(key);
      await delay(Math.random() * 3);
      counts.set(key, (counts.get(key) ?? 0) + 1);
      active.delete(key);
    };
    const adding = async (): Promise<void> => {
      for (let round = 0; round < 60; round++) {
        for (const key of keys) queue.add(key);
        await delay(1);
      }
      while (queue.length > 0 || active.size > 0) await delay(1);
    };
    await work({ queue, workers: 8, reconcile }, adding());
    expect(overlaps).toBe(0);
    expect([...counts.keys()].toSorted()).toEqual(keys);
  });

  test('tries again what failed, each time later, until it succeeds', async () => {
    const queue = new WorkQueue({ backoff: { firstMs: 10, maxMs: 200 } });
    const times: number[] = [];
    const finished = Promise.withResolvers<undefined>();
    const reconcile = async (): Promise<undefined> => {
      times.push(performance.now());
      if (times.length < 5) throw new Error('not yet');
      finished.resolve(undefined);
    };
    queue.add('a');
    const failures = await work({ queue, workers: 2, reconcile }, finished.promise);
    expect(failures).toEqual(Array(4).fill('a: Error: not yet'));
    const waits = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    // Half of 10, 20, 40 and 80 ms, less what timers are early by.
    for (const [i, wait] of waits.entries()) expect(wait).toBeGreaterThan(5 * 2 ** i - 1.5);
  });

  test('comes back when the reconciler asks for it; of several times the soonest counts', async () => {
    const queue = new WorkQueue();
    const finished = Promise.withResolvers<undefined>();
    let calls = 0;
    const reconcile = async () => {
      calls += 1;
      if (calls === 3) finished.resolve(undefined);
      queue.addAfter('a', 3_600_000);
      return { againAfterMs: 1 };
    };
    queue.addAfter('a', 3_600_000);
    queue.addAfter('a', 1);
    await work({ queue, workers: 1, reconcile }, finished.promise);
    expect(calls).toBe(3);
  });

  test('closing ends waiting workers and forgets what is due later', async () => {
    const queue = new WorkQueue();
    const taken = [queue.take(), queue.take()];
    queue.addAfter('a', 1);
    queue.close();
    queue.add('b');
    expect(await Promise.all(taken)).toEqual([undefined, undefined]);
    expect(await queue.take()).toBeUndefined();
    expect(queue.length).toBe(0);
  });
});

describe('Back-off', () => {
  test('doubles up to its limit, within half and all of it, and begins anew after a success', () => {
    const backoff = new Backoff({ firstMs: 100, maxMs: 1_000 });
    for (const limit of [100, 200, 400, 800, 1_000, 1_000]) {
      const wait = backoff.next();
      expect(wait).toBeGreaterThanOrEqual(limit / 2);
      expect(wait).toBeLessThanOrEqual(limit);
    }
    backoff.reset();
    expect(backoff.next()).toBeLessThanOrEqual(100);
  });
});
