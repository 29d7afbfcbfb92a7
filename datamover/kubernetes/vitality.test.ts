import { describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { INFORMER_DEAD_MS, SILENCE_MS, whyBlind, whyDead, WORK_STUCK_MS } from './vitality.ts';
import { runWorkers, WorkQueue } from './workqueue.ts';

const informers = (stillForMs: number, silentForMs = stillForMs) =>
  new Map([['VolumeSnapshotBackup', { stillForMs, silentForMs }]]);

describe('whether a process gets on', () => {
  test('an informer that stands still is dead; one that tries in vain is blind', () => {
    expect(whyDead({ informers: informers(INFORMER_DEAD_MS - 1), queues: [] })).toBeUndefined();
    expect(whyDead({ informers: informers(INFORMER_DEAD_MS), queues: [] })).toBe(
      'nobody follows VolumeSnapshotBackup any more, for 20 min',
    );
    const trying = informers(1_000, SILENCE_MS);
    expect(whyDead({ informers: trying, queues: [] })).toBeUndefined();
    expect(whyBlind({ informers: trying })).toBe(
      'the API server has said nothing of VolumeSnapshotBackup for 5 min',
    );
    expect(whyBlind({ informers: informers(0, SILENCE_MS - 1) })).toBeUndefined();
  });

  test('work that never comes back is found in its queue, and the other workers go on', async () => {
    const queue = new WorkQueue();
    const stop = new AbortController();
    const stuck = Promise.withResolvers<undefined>();
    const done: string[] = [];
    const working = runWorkers({
      ...{ queue, workers: 2, signal: stop.signal, onFailure: () => undefined },
      reconcile: async (key) => {
        done.push(key);
        return key === 'stuck' ? stuck.promise : undefined;
      },
    });
    expect(queue.longest).toBeUndefined();
    queue.add('stuck');
    await delay(50);
    queue.add('other');
    await delay(50);
    expect(done).toEqual(['stuck', 'other']);
    expect(queue.longest?.key).toBe('stuck');
    expect(queue.longest?.forMs).toBeGreaterThanOrEqual(50);
    const longest = { key: 'backup:shop/db', forMs: WORK_STUCK_MS };
    expect(whyDead({ informers: new Map(), queues: [{ longest }] })).toBe(
      'the work on backup:shop/db has not come back for 30 min',
    );
    stuck.resolve(undefined);
    await delay(50);
    expect(queue.longest).toBeUndefined();
    stop.abort();
    await working;
  });
});
