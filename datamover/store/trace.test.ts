import { expect, test } from '@jest/globals';

import { FaultStore } from './fault.ts';
import { MemoryStore } from './memory.ts';
import { collect, failure, saved } from './store.suite.ts';
import { TraceStore, type TraceEvent } from './trace.ts';

test('counts calls, failures, bytes and files by operation, and tells of each', async () => {
  const events: TraceEvent[] = [];
  const faulty = new FaultStore(new MemoryStore(), [
    { on: 'load', fault: 'fail', nth: 2 },
    { on: 'list', fault: 'done-but-failed', nth: 2 },
    { on: 'stat', fault: 'delay', ms: 20 },
  ]);
  const store = new TraceStore(faulty, (event) => events.push(event));
  await store.create();
  const { handle } = await saved(store, 'data', 1000);
  await saved(store, 'keys', 10);
  await store.load(handle, { range: { offset: 0, length: 300 } });
  await failure(store.load(handle));
  await store.stat(handle);
  await collect(store.list(['keys', 'data']));
  await failure(collect(store.list(['keys'])));
  for await (const file of store.list(['data'])) {
    await store.remove(file);
    break;
  }
  const counts = Object.fromEntries(
    Object.entries(store.totals).map(([operation, { calls, errors, amount }]) => [
      operation,
      [calls, errors, amount],
    ]),
  );
  expect(counts).toEqual({
    create: [1, 0, 0],
    save: [2, 0, 1010],
    load: [2, 1, 300],
    stat: [1, 0, 0],
    list: [3, 1, 4],
    remove: [1, 0, 0],
  });
  expect(store.totals.stat.milliseconds).toBeGreaterThan(15);
  expect(events.map(({ operation }) => operation)).toEqual([
    'create',
    'save',
    'save',
    'load',
    'load',
    'stat',
    'list',
    'list',
    'remove',
    'list',
  ]);
  expect(events[3]).toMatchObject({ file: handle, amount: 300 });
  expect(events[4]).toMatchObject({ error: expect.objectContaining({ operation: 'load' }) });
  expect(events[6]).toMatchObject({ types: ['keys', 'data'], amount: 2 });
});
