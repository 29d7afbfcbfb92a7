import { randomBytes } from 'node:crypto';

import { describe, expect, test } from '@jest/globals';

import { FaultStore, type Fault } from './fault.ts';
import { StoreFailure, type StoreFailureReason } from './failure.ts';
import { MemoryStore } from './memory.ts';
import { RetryStore, type RetryOptions } from './retry.ts';
import type { Store } from './store.ts';
import { collect, failure, handleOf, saved } from './store.suite.ts';
import { StoreWrapper } from './wrapper.ts';

const QUICK: RetryOptions = { baseMs: 1, maxMs: 4, deadlineMs: 5000, firstContactMs: 5000 };

function failing(
  faults: readonly Fault[],
  options: RetryOptions = {},
): { store: RetryStore; faulty: FaultStore; kept: MemoryStore } {
  const kept = new MemoryStore();
  const faulty = new FaultStore(kept, faults);
  return { store: new RetryStore(faulty, { ...QUICK, ...options }), faulty, kept };
}

describe('retry', () => {
  test.each<StoreFailureReason>(['broken', 'stalled', 'unreachable', 'throttled'])(
    'repeats what is %s',
    async (reason) => {
      const { store, faulty } = failing([{ on: 'save', fault: 'fail', reason, times: 3 }]);
      const { handle, content } = await saved(store, 'data', 100);
      expect(faulty.struck).toBe(3);
      expect(Buffer.from(await store.load(handle)).equals(content)).toBe(true);
    },
  );

  test.each<StoreFailureReason>([
    'missing',
    'no-place',
    'forbidden',
    'range',
    'full',
    'refused',
    'untrusted',
    'cancelled',
  ])('does not repeat what is %s', async (reason) => {
    const { store, faulty } = failing([{ on: 'load', fault: 'fail', reason, times: 10 }]);
    const { handle } = await saved(store, 'data', 100);
    expect(store.isPermanent(await failure(store.load(handle)))).toBe(true);
    expect(faulty.struck).toBe(1);
  });

  test('an error that is no failure of a store is a bug and is not repeated', async () => {
    const { store } = failing([]);
    const handle = { type: 'data', name: 'nonsense' } as const;
    await expect(store.load(handle)).rejects.toThrow(/is no file name/);
  });

  test('a save whose answer was lost is made again and harmless', async () => {
    const { store, faulty, kept } = failing([{ on: 'save', fault: 'done-but-failed' }]);
    const { handle, content } = await saved(store, 'data', 100);
    expect(faulty.struck).toBe(1);
    expect(Buffer.from(await kept.load(handle)).equals(content)).toBe(true);
  });

  test('a removal whose answer was lost is made again and harmless', async () => {
    const { store, faulty } = failing([{ on: 'remove', fault: 'done-but-failed' }]);
    const { handle } = await saved(store, 'data', 100);
    await store.remove(handle);
    expect(faulty.struck).toBe(1);
  });

  test('a part that comes too short is fetched again', async () => {
    const { store, faulty } = failing([{ on: 'load', fault: 'cut', bytes: 10 }]);
    const { handle, content } = await saved(store, 'data', 100);
    const part = await store.load(handle, { range: { offset: 20, length: 50 } });
    expect(Buffer.from(part).equals(content.subarray(20, 70))).toBe(true);
    expect(faulty.struck).toBe(1);
  });

  test('a listing that breaks is completed, and no file comes twice', async () => {
    const { store, faulty } = failing([
      { on: 'list', fault: 'cut', bytes: 0 },
      { on: 'list', fault: 'cut', bytes: 7, nth: 2 },
      { on: 'list', fault: 'done-but-failed', nth: 3 },
    ]);
    const files = await Promise.all(Array.from({ length: 10 }, () => saved(store, 'data', 10)));
    const listed = (await collect(store.list(['data']))).map(({ name }) => name);
    expect(listed.sort()).toEqual(files.map(({ handle }) => handle.name).sort());
    expect(faulty.struck).toBe(3);
  });

  test('gives up at the deadline, and says how often it tried', async () => {
    const { store } = failing([{ on: 'load', fault: 'fail', times: 1e6 }], {
      deadlineMs: 100,
      firstContactMs: 100,
    });
    const { handle } = await saved(store, 'data', 10);
    const begun = performance.now();
    const error = await failure(store.load(handle));
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(error.message).toMatch(/a planned fault, \d+ attempts in \d s/);
    expect(store.isPermanent(error)).toBe(false);
  });

  test('has little patience with a store that never answered, and much with one that did', async () => {
    const times = { on: 'stat', fault: 'fail', reason: 'unreachable', times: 1e6 } as const;
    const { store, kept, faulty } = failing([times], { deadlineMs: 1500, firstContactMs: 40 });
    const { handle } = await saved(kept, 'data', 10);
    const timeOf = async (): Promise<number> => {
      const begun = performance.now();
      expect((await failure(store.stat(handle))).message).toMatch(/planned/);
      return performance.now() - begun;
    };
    expect(await timeOf()).toBeLessThan(1000);
    faulty.heal();
    await store.stat(handle);
    faulty.plan(times);
    expect(await timeOf()).toBeGreaterThan(1300);
  });

  test('Retry-After is kept, by all calls', async () => {
    const { store } = failing([{ on: 'save', fault: 'fail', reason: 'throttled', retryAfterMs: 100 }]);
    const begun = performance.now();
    await saved(store, 'data', 10);
    expect(performance.now() - begun).toBeGreaterThan(95);
  });

  test('refusals lower how many calls run at once, successes raise it again', async () => {
    const { store } = failing([{ on: 'save', fault: 'fail', reason: 'throttled', times: 2 }]);
    expect(store.currentConcurrency).toBe(8);
    await saved(store, 'data', 10);
    expect(store.currentConcurrency).toBe(2);
    await Promise.all(Array.from({ length: 40 }, () => saved(store, 'data', 10)));
    expect(store.currentConcurrency).toBe(8);
  });

  test('a server that bears two calls at once gets everything in the end', async () => {
    const kept = new MemoryStore();
    let running = 0;
    let refusals = 0;
    class Weak extends StoreWrapper {
      override async save(...args: Parameters<Store['save']>): Promise<void> {
        running++;
        try {
          if (running > 2) {
            refusals++;
            throw new StoreFailure({ operation: 'save', cause: 'SlowDown', reason: 'throttled' });
          }
          await new Promise((resolve) => setTimeout(resolve, 2));
          await super.save(...args);
        } finally {
          running--;
        }
      }
    }
    const store = new RetryStore(new Weak(kept), QUICK);
    const files = await Promise.all(Array.from({ length: 60 }, () => saved(store, 'data', 10)));
    for (const { handle } of files) expect((await kept.stat(handle)).size).toBe(10);
    expect(refusals).toBeGreaterThan(0);
    expect(refusals).toBeLessThan(60);
  });

  test.each(['fail', 'hang'] as const)(
    'stopping ends a call at once, also while it would %s',
    async (fault) => {
      const { store, faulty } = failing([{ on: 'save', fault, times: 1e6 }], {
        baseMs: 60_000,
        maxMs: 60_000,
        deadlineMs: 1e9,
        firstContactMs: 1e9,
      });
      const stopping = new AbortController();
      const content = randomBytes(10);
      setTimeout(() => stopping.abort(), 30);
      const begun = performance.now();
      const error = await failure(
        store.save(handleOf('data', content), content, { signal: stopping.signal }),
      );
      expect(error.kind).toBe('cancelled');
      expect(performance.now() - begun).toBeLessThan(10_000);
      expect(faulty.struck).toBe(1);
    },
  );

  test('tells of each failure that it repeats', async () => {
    const told: string[] = [];
    const onRetry: RetryOptions['onRetry'] = (error, pauseMs) => told.push(`${String(error)} ${pauseMs > 0}`);
    const { store } = failing([{ on: 'save', fault: 'fail', times: 2 }], { onRetry });
    await saved(store, 'data', 10);
    expect(told).toEqual([
      expect.stringMatching(/save data\/.*a planned fault true/),
      expect.stringMatching(/save data\/.*a planned fault true/),
    ]);
  });
});
