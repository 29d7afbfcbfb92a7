import { spawnSync } from 'node:child_process';
import { hostname } from 'node:os';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { MemoryStore } from '../store/memory.ts';
import type { FileHandle, LoadOptions, SaveOptions } from '../store/store.ts';
import { RepositoryFiles } from './files.ts';
import { newMasterKey } from './key-file.ts';
import {
  conflicts,
  decodeLock,
  describeLock,
  encodeLock,
  isOurs,
  isStale,
  modeOf,
  newLock,
  STALE_AFTER_MS,
  type Lock,
  type LockMode,
} from './lock.ts';
import {
  acquireLock,
  GIVE_UP_AFTER_MS,
  LockHandle,
  readLocks,
  REFRESH_EVERY_MS,
  type LockContext,
} from './locks.ts';
import type { Id } from './types.ts';

/** A lock as restic writes it. */
function foreignLock(exclusive: boolean, changes: Partial<Lock> = {}): Lock {
  return {
    time: new Date().toISOString(),
    exclusive,
    hostname: 'elsewhere',
    username: 'root',
    pid: 4711,
    uid: 0,
    gid: 0,
    ...changes,
  };
}

/** A pid that was somebody's a moment ago. */
function deadPid(): number {
  return spawnSync('true').pid;
}

/** Remembers what was done to it and can refuse to save. */
class WatchedStore extends MemoryStore {
  readonly steps: string[] = [];
  full = false;
  hanging = false;
  beforeLoad: ((file: FileHandle) => Promise<void>) | undefined;

  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    await this.beforeLoad?.(file);
    return super.load(file, options);
  }

  override async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    if (this.hanging) return new Promise(() => undefined);
    if (this.full) throw new DatamoverError({ operation: 'save', cause: 'disk full' });
    this.steps.push(`save ${file.type}`);
    return super.save(file, content, options);
  }

  override async remove(file: FileHandle): Promise<void> {
    this.steps.push(`remove ${file.type}`);
    return super.remove(file);
  }
}

let store: WatchedStore;
let context: LockContext;
let files: RepositoryFiles;

beforeEach(() => {
  store = new WatchedStore();
  files = new RepositoryFiles(store, newMasterKey(), 2);
  context = { store, files };
});

const put = (lock: Lock): Promise<Id> => files.save('locks', encodeLock(lock));

async function lockNames(): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of store.list(['locks'])) found.push(name);
  return found;
}

describe('lock files', () => {
  test('come back, ours and foreign ones', () => {
    for (const lock of [newLock('shared', '1.2'), newLock('sweep', '1.2'), foreignLock(true)]) {
      const { uid, gid, ...rest } = lock;
      expect([uid, gid].every(Number.isInteger)).toBe(true);
      expect(decodeLock(encodeLock(lock), 'lock')).toMatchObject(rest);
    }
    expect(() => decodeLock(Buffer.from('{"time":"never"}'), 'lock 1a2b3c4d')).toThrow(
      'read lock 1a2b3c4d: field time',
    );
  });

  test('F-24 ours are exclusive for restic unless they are shared, and tell whose they are', () => {
    const modes = ['shared', 'exclusive', 'sweep'] as const;
    expect(modes.map((mode) => newLock(mode, '1').exclusive)).toEqual([false, true, true]);
    for (const mode of modes) {
      const lock = newLock(mode, '1');
      expect([isOurs(lock), modeOf(lock)]).toEqual([true, mode]);
      expect(describeLock(lock)).toContain(
        `process ${process.pid} of ${lock.username || 'somebody'} on ${hostname()}, ${mode}`,
      );
    }
    // A stranger that calls itself a sweep is exclusive and nothing less.
    expect([isOurs(foreignLock(true)), modeOf(foreignLock(true, { role: 'sweep' }))]).toEqual([
      false,
      'exclusive',
    ]);
  });

  const held: Record<string, Lock> = {
    'our shared': newLock('shared', '1'),
    'our sweep': newLock('sweep', '1'),
    'our exclusive': newLock('exclusive', '1'),
    'foreign shared': foreignLock(false),
    'foreign exclusive': foreignLock(true),
  };
  test.each<[string, LockMode[]]>([
    ['our shared', ['exclusive']],
    ['our sweep', ['exclusive', 'sweep']],
    ['our exclusive', ['shared', 'exclusive', 'sweep']],
    ['foreign shared', ['exclusive', 'sweep']],
    ['foreign exclusive', ['shared', 'exclusive', 'sweep']],
  ])('F-28 beside %s nobody gets %j', (name, refused) => {
    const lock = held[name];
    if (lock === undefined) throw new Error(name);
    const modes = ['shared', 'exclusive', 'sweep'] as const;
    expect(modes.filter((mode) => conflicts(lock, mode))).toEqual(refused);
  });

  test('F-25 are stale after 30 minutes, and at once where the same machine knows that the process is dead', () => {
    const ours = newLock('shared', '1');
    const pid = deadPid();
    expect(isStale(ours, STALE_AFTER_MS + 1)).toBe(true);
    expect(isStale(ours, STALE_AFTER_MS - 1)).toBe(false);
    expect(isStale({ ...ours, pid }, 0)).toBe(true);
    // The same host name and another kernel or pid namespace: a pid says nothing.
    expect(isStale({ ...ours, pid, machine: 'other' }, 0)).toBe(false);
    expect(isStale({ ...ours, pid: process.ppid }, 0)).toBe(false);
    expect(isStale(foreignLock(true, { pid, hostname: hostname() }), 0)).toBe(true);
    expect(isStale(foreignLock(true, { pid }), 0)).toBe(false);
  });
});

describe('locking', () => {
  const attempt = async (mode: LockMode): Promise<string> => {
    try {
      const { handle } = await acquireLock(context, mode, '1');
      await handle.release();
      return 'locked';
    } catch (error) {
      if (error instanceof DatamoverError && error.kind === 'locked') return error.message;
      throw error;
    }
  };

  test('F-24 the lock file is there before anybody looks at those of others, and goes afterwards', async () => {
    const { handle, others, crashed } = await acquireLock(context, 'shared', '1');
    expect(store.steps).toEqual(['save locks']);
    expect(await lockNames()).toEqual([handle.id]);
    expect([others, crashed]).toEqual([[], []]);
    await handle.release();
    await handle.release();
    expect(await lockNames()).toEqual([]);
    expect(() => handle.assertHeld()).toThrow('it was released');
  });

  test('F-24 a fresh foreign exclusive lock is respected, and ours leaves no trace', async () => {
    const foreign = await put(foreignLock(true));
    const message = await attempt('shared');
    expect(message).toMatch(
      /^lock repository memory: locked by process 4711 of root on elsewhere, exclusive, since /,
    );
    expect(await lockNames()).toEqual([foreign]);
  });

  test('F-28 two exclusive locks at the same time are never both granted', async () => {
    const results = await Promise.all([attempt('exclusive'), attempt('exclusive'), attempt('sweep')]);
    expect(results.filter((result) => result === 'locked').length).toBeLessThanOrEqual(1);
    expect(await attempt('exclusive')).toBe('locked');
  });

  test('F-25 dead locks of ours are removed and told of; stale foreign ones are ignored and stay', async () => {
    const dead = await put({ ...newLock('exclusive', '1'), pid: deadPid() });
    const foreign = await put(foreignLock(true, { hostname: hostname(), pid: deadPid() }));
    const { handle, crashed, others } = await acquireLock(context, 'exclusive', '1');
    expect(crashed.length).toBe(1);
    expect(others.map(({ id, stale }) => [id, stale])).toEqual([[foreign, true]]);
    const names = await lockNames();
    expect([names.includes(dead), names.includes(foreign)]).toEqual([false, true]);
    await handle.release();
  });

  test('F-25 whoever only reads or adds leaves a dead lock of ours: the next backup looks for packs by it', async () => {
    const dead = await put({ ...newLock('shared', '1'), pid: deadPid() });
    const { handle, crashed, others } = await acquireLock(context, 'shared', '1');
    expect([crashed.map(({ id }) => id), others]).toEqual([[dead], []]);
    expect(await lockNames()).toContain(dead);
    await handle.release();
  });

  test("F-25 ages are taken by the store's clock where it has one: wrong clocks of hosts play no part", async () => {
    await put(foreignLock(true, { time: '2001-01-01T00:00:00Z' }));
    expect(await attempt('shared')).toContain('locked by');
    const listed = [];
    for await (const file of store.list(['locks']))
      listed.push({ ...file, modified: new Date('2026-01-01T12:00:00Z') });
    const {
      known: [known],
    } = await readLocks(context, listed, new Date('2026-01-01T12:31:00Z'));
    expect(known?.stale).toBe(true);
  });

  test('F-33 an unreadable lock file counts as a lock while it is fresh', async () => {
    await store.save({ type: 'locks', name: 'ab'.repeat(32) }, new Uint8Array(0));
    expect(await attempt('shared')).toContain('a lock file is unreadable');
    const {
      known: [known],
    } = await readLocks(
      context,
      [
        {
          type: 'locks',
          name: 'ab'.repeat(32),
          size: 0,
          modified: new Date(Date.now() - STALE_AFTER_MS - 1000),
        },
      ],
      new Date(),
    );
    expect(known?.stale).toBe(true);
  });

  test('a lock that is gone before it is read is no lock', async () => {
    expect(await readLocks(context, [{ type: 'locks', name: 'ab'.repeat(32), size: 0 }])).toEqual({
      known: [],
      vanished: true,
    });
  });

  test('F-28 a lock that is renewed between the listing and the look at it still keeps a prune out', async () => {
    const old = await put(foreignLock(false));
    store.beforeLoad = async ({ name }) => {
      if (name !== old) return;
      store.beforeLoad = undefined;
      await put(foreignLock(false, { time: new Date(Date.now() + 1).toISOString() }));
      await store.remove({ type: 'locks', name: old });
    };
    expect(await attempt('exclusive')).toContain('locked by process 4711');
  });

  test('F-28 a backup that ends between the listing and the look at its lock leaves its snapshot in the listing', async () => {
    const old = await put(foreignLock(false));
    const snapshot = { type: 'snapshots', name: 'cd'.repeat(32) } as const;
    store.beforeLoad = async () => {
      store.beforeLoad = undefined;
      await store.save(snapshot, new Uint8Array(1));
      await store.remove({ type: 'locks', name: old });
    };
    const { handle, listing } = await acquireLock(context, 'exclusive', '1');
    expect(listing.get('snapshots')?.map(({ name }) => name)).toEqual([snapshot.name]);
    await handle.release();
  });
});

describe('a lock that is held', () => {
  beforeEach(() => void jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] }));
  afterEach(() => void jest.useRealTimers());
  const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);

  test('F-26 is written anew every five minutes, the new file before the old one goes', async () => {
    const handle = await LockHandle.create(files, 'shared', '1');
    const first = handle.id;
    const { started } = decodeLock(await files.load('locks', first), 'lock');
    await pass(REFRESH_EVERY_MS + 1000);
    expect(store.steps).toEqual(['save locks', 'save locks']);
    expect(handle.id).not.toBe(first);
    // Who listed the first one a moment ago still finds it.
    expect(await lockNames()).toEqual([first, handle.id]);
    const renewed = decodeLock(await files.load('locks', handle.id), 'lock');
    expect(renewed.started).toBe(started);
    expect(renewed.time).not.toBe(started);
    await handle.release();
    expect(await lockNames()).toEqual([]);
    await pass(60 * 60_000);
    expect(store.steps.length).toBe(4);
  });

  test('F-26 leaves at most one file beside the newest', async () => {
    const handle = await LockHandle.create(files, 'shared', '1');
    await pass(4 * REFRESH_EVERY_MS + 1000);
    const names = await lockNames();
    expect(names.length).toBe(2);
    expect(names).toContain(handle.id);
    await handle.release();
    expect(await lockNames()).toEqual([]);
  });

  test('F-27 is lost on time where a renewal hangs: whoever writes is told at once', async () => {
    const handle = await LockHandle.create(files, 'shared', '1');
    store.hanging = true;
    await pass(GIVE_UP_AFTER_MS - 1000);
    expect(handle.signal.aborted).toBe(false);
    await pass(2000);
    expect(handle.signal.aborted).toBe(true);
  });

  test('F-27 that cannot be refreshed for 25 minutes is lost: nothing is written any more', async () => {
    const handle = await LockHandle.create(files, 'shared', '1');
    store.full = true;
    await pass(GIVE_UP_AFTER_MS - 60_000);
    expect(() => handle.assertHeld()).not.toThrow();
    expect(handle.signal.aborted).toBe(false);
    await pass(2 * 60_000);
    expect(handle.signal.aborted).toBe(true);
    expect(() => handle.assertHeld()).toThrow(/keep lock .*(disk full|25 minutes)/);
    await handle.release();
  });

  test('outlives a store that fails for a while', async () => {
    const handle = await LockHandle.create(files, 'shared', '1');
    store.full = true;
    await pass(10 * 60_000);
    store.full = false;
    await pass(60_000);
    await pass(20 * 60_000);
    expect(() => handle.assertHeld()).not.toThrow();
    expect(await lockNames()).toContain(handle.id);
    await handle.release();
  });

  test('F-27 notices that the machine slept', async () => {
    const handle = await LockHandle.create(files, 'shared', '1');
    jest.setSystemTime(Date.now() + GIVE_UP_AFTER_MS + 1000);
    expect(() => handle.assertHeld()).toThrow('could not be refreshed for 25 minutes');
    await handle.release();
  });
});
