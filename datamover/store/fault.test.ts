import { expect, test } from '@jest/globals';

import { FaultStore } from './fault.ts';
import { MemoryStore } from './memory.ts';
import { collect, failure, handleOf, saved } from './store.suite.ts';

test('a fault strikes the calls it is planned for, of the type it is planned for', async () => {
  const store = new FaultStore(new MemoryStore(), [
    { on: 'save', type: 'data', fault: 'fail', nth: 2, times: 2 },
  ]);
  await saved(store, 'data', 1);
  await saved(store, 'keys', 2);
  expect((await failure(saved(store, 'data', 3))).message).toMatch(/planned/);
  await saved(store, 'keys', 4);
  expect((await failure(saved(store, 'data', 5))).retryable).toBe(true);
  await saved(store, 'data', 6);
  expect(store.struck).toBe(2);
  expect(await collect(store.list(['data', 'keys']))).toHaveLength(4);
});

test('a cut save leaves a part behind; a cut load says nothing', async () => {
  const store = new FaultStore(new MemoryStore(), [
    { on: 'save', fault: 'cut', bytes: 4 },
    { on: 'load', fault: 'cut', bytes: 3 },
  ]);
  const content = Buffer.from('content');
  const handle = handleOf('data', content);
  expect((await failure(store.save(handle, content))).message).toMatch(/planned/);
  expect((await store.stat(handle)).size).toBe(4);
  expect(Buffer.from(await store.load(handle)).toString()).toBe('con');
  expect(Buffer.from(await store.load(handle)).toString()).toBe('cont');
});

test('done-but-failed has done its work', async () => {
  const store = new FaultStore(new MemoryStore(), [
    { on: 'save', fault: 'done-but-failed' },
    { on: 'remove', fault: 'done-but-failed' },
  ]);
  const content = Buffer.from('content');
  const handle = handleOf('index', content);
  await failure(store.save(handle, content));
  expect((await store.stat(handle)).size).toBe(7);
  await failure(store.remove(handle));
  expect(store.isMissing(await failure(store.stat(handle)))).toBe(true);
});

test('a flipped bit is one bit, and the store itself stays whole', async () => {
  const store = new FaultStore(new MemoryStore(), [{ on: 'load', fault: 'flipped-bit', bit: 13 }]);
  const { handle, content } = await saved(store, 'data', 10);
  const wrong = await store.load(handle);
  expect(wrong[1]).toBe(content[1]! ^ 0b100000);
  wrong[1] = content[1]!;
  expect(Buffer.from(wrong).equals(content)).toBe(true);
  expect(Buffer.from(await store.load(handle)).equals(content)).toBe(true);
});

test('empty listings, cut listings, delays and healing', async () => {
  const store = new FaultStore(new MemoryStore(), [
    { on: 'list', fault: 'empty-listing' },
    { on: 'list', fault: 'cut', bytes: 1, nth: 2 },
    { on: 'list', fault: 'delay', ms: 30, nth: 3 },
    { on: 'list', fault: 'empty-listing', nth: 4, times: 100 },
  ]);
  await saved(store, 'data', 1);
  await saved(store, 'data', 2);
  expect(await collect(store.list(['data']))).toEqual([]);
  await failure(collect(store.list(['data'])));
  const begun = performance.now();
  expect(await collect(store.list(['data']))).toHaveLength(2);
  expect(performance.now() - begun).toBeGreaterThan(25);
  expect(await collect(store.list(['data']))).toEqual([]);
  store.heal();
  expect(await collect(store.list(['data']))).toHaveLength(2);
});
