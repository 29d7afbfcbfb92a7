import { createHash, randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { DatamoverError } from '../errors.ts';
import { isMissing } from './failure.ts';
import type { FileHandle, FileInfo, FileType, Store } from './store.ts';

export interface Subject {
  readonly store: Store;
  /** Another store object at the same place, as another process would have it. */
  readonly again: () => Store | Promise<Store>;
  readonly dispose?: () => Promise<void>;
}

const CONFIG: FileHandle = { type: 'config', name: '' };
const ALL: readonly FileType[] = ['config', 'keys', 'locks', 'snapshots', 'index', 'data'];

/** What every store and every wrapper must do. `open` gives an empty place that `create` has not been called for. */
export function storeSuite(title: string, open: () => Promise<Subject>): void {
  describe(`${title} keeps the contract of a store`, () => {
    let subject: Subject;
    let store: Store;

    beforeAll(async () => {
      subject = await open();
      store = subject.store;
      await store.create();
    });

    afterAll(async () => {
      await store.close();
      await subject.dispose?.();
    });

    test('create leaves what is there as it is', async () => {
      const file = await saved(store, 'keys', 10);
      await store.create();
      expect((await store.load(file.handle)).length).toBe(10);
    });

    test('location names the place', () => {
      expect(store.location).not.toBe('');
      expect(store.concurrency).toBeGreaterThan(0);
    });

    test.each(ALL)('a file of type %s comes back as it was saved', async (type) => {
      const { handle, content } = await saved(store, type, 1000);
      expect(Buffer.from(await store.load(handle)).equals(content)).toBe(true);
      const other = await subject.again();
      expect(Buffer.from(await other.load(handle)).equals(content)).toBe(true);
      if (other !== store) await other.close();
    });

    test.each([0, 1, 65_535, 65_536, 1_048_577, 5_000_000])('a file of %d bytes comes back', async (size) => {
      const { handle, content } = await saved(store, 'data', size);
      expect(Buffer.from(await store.load(handle)).equals(content)).toBe(true);
      expect((await store.stat(handle)).size).toBe(size);
    });

    test('content in shared memory is saved and loaded', async () => {
      const content = new Uint8Array(new SharedArrayBuffer(300_000)).subarray(1000, 250_000);
      content.set(randomBytes(content.length));
      const handle = handleOf('data', content);
      await store.save(handle, content);
      const into = new Uint8Array(new SharedArrayBuffer(400_000)).subarray(77);
      const loaded = await store.load(handle, { into });
      expect(loaded.buffer).toBe(into.buffer);
      expect(loaded.byteOffset).toBe(77);
      expect(Buffer.from(loaded).equals(Buffer.from(content))).toBe(true);
    });

    test('a part of a file comes back', async () => {
      const { handle, content } = await saved(store, 'data', 200_000);
      for (const [offset, length] of [
        [0, 1],
        [0, 200_000],
        [199_999, 1],
        [1234, 70_000],
        [5, 0],
        [200_000, 0],
      ] as const) {
        const part = await store.load(handle, { range: { offset, length } });
        expect(Buffer.from(part).equals(content.subarray(offset, offset + length))).toBe(true);
      }
    });

    test('a part of a file fills the memory given for it and nothing beyond', async () => {
      const { handle, content } = await saved(store, 'data', 100_000);
      const into = Buffer.alloc(50_000, 0xaa);
      const part = await store.load(handle, { range: { offset: 90_000, length: 10_000 }, into });
      expect(part.length).toBe(10_000);
      expect(into.subarray(0, 10_000).equals(content.subarray(90_000))).toBe(true);
      expect(into.subarray(10_000).every((byte) => byte === 0xaa)).toBe(true);
    });

    test('memory that is too small is an error', async () => {
      const { handle } = await saved(store, 'data', 1000);
      const error = await failure(store.load(handle, { into: new Uint8Array(999) }));
      expect(error.message).toMatch(/1000 bytes do not fit into the 999/);
      expect(store.isPermanent(error)).toBe(true);
    });

    test.each([
      [0, 1001],
      [999, 2],
      [1000, 1],
      [5000, 10],
      [1001, 0],
    ])(
      'bytes from %d, %d of them, of a file of 1000 are a permanent error and not a missing file',
      async (offset, length) => {
        const { handle } = await saved(store, 'data', 1000);
        const error = await failure(store.load(handle, { range: { offset, length } }));
        expect(store.isPermanent(error)).toBe(true);
        expect(store.isMissing(error)).toBe(false);
      },
    );

    test('a file that is not there is missing, in one sentence', async () => {
      const handle = handleOf('data', randomBytes(10));
      for (const call of [
        () => store.load(handle),
        () => store.load(handle, { range: { offset: 0, length: 5 } }),
        () => store.stat(handle),
      ]) {
        const error = await failure(call());
        expect(store.isMissing(error)).toBe(true);
        expect(store.isPermanent(error)).toBe(true);
        expect(error.message).toMatch(new RegExp(`^(load|stat) .*${handle.name}: no such file`));
      }
    });

    test('isMissing and isPermanent look through wrapping errors, and know nothing of strangers', async () => {
      const error = await failure(store.stat(handleOf('index', randomBytes(10))));
      const wrapped = new DatamoverError({ operation: 'open repository', cause: error });
      expect(store.isMissing(wrapped)).toBe(true);
      expect(store.isMissing(new Error('other'))).toBe(false);
      expect(store.isMissing(undefined)).toBe(false);
    });

    test('saving the same again is harmless', async () => {
      const { handle, content } = await saved(store, 'snapshots', 5000);
      await Promise.all([store.save(handle, content), store.save(handle, content)]);
      expect(Buffer.from(await store.load(handle)).equals(content)).toBe(true);
      const found = await collect(store.list(['snapshots']));
      expect(found.filter(({ name }) => name === handle.name)).toHaveLength(1);
    });

    test('config can be replaced', async () => {
      await store.save(CONFIG, Buffer.from('one'));
      await store.save(CONFIG, Buffer.from('other'));
      expect(Buffer.from(await store.load(CONFIG)).toString()).toBe('other');
    });

    test('a removed file is gone, and removing it again is no error', async () => {
      const { handle } = await saved(store, 'locks', 100);
      await store.remove(handle);
      expect(isMissing(await failure(store.stat(handle)))).toBe(true);
      expect((await collect(store.list(['locks']))).map(({ name }) => name)).not.toContain(handle.name);
      await store.remove(handle);
      await store.remove(handleOf('data', randomBytes(10)));
    });

    test('list finds the files of the types asked for, with size and time', async () => {
      const begun = Date.now();
      const files = await Promise.all(ALL.map((type, i) => saved(store, type, 100 + i)));
      for (const types of [
        ['keys'],
        ['data'],
        ['config'],
        ['keys', 'locks', 'snapshots', 'index'],
        ['index', 'config'],
        ALL,
      ] as const) {
        const listed = await collect(store.list(types));
        expect(listed.every(({ type }) => types.some((wanted) => wanted === type))).toBe(true);
        for (const { handle, content } of files.filter((file) =>
          types.some((type) => type === file.handle.type),
        )) {
          const info = listed.find(({ type, name }) => type === handle.type && name === handle.name);
          expect(info?.size).toBe(content.length);
          // Stores tell whole seconds, by their own clocks.
          expect(Math.abs((info?.modified?.getTime() ?? 0) - begun)).toBeLessThan(60_000);
          expect((await store.stat(handle)).modified?.getTime()).toBeDefined();
        }
      }
      expect(await collect(store.list([]))).toEqual([]);
    });

    test('files may be loaded and removed while they are listed', async () => {
      await Promise.all(Array.from({ length: 5 }, () => saved(store, 'locks', 20)));
      let count = 0;
      for await (const file of store.list(['locks'])) {
        expect((await store.load(file)).length).toBe(file.size);
        await store.remove(file);
        count++;
      }
      expect(count).toBeGreaterThanOrEqual(5);
      expect(await collect(store.list(['locks']))).toEqual([]);
    });

    test('a listing can be left early', async () => {
      await Promise.all(Array.from({ length: 3 }, () => saved(store, 'index', 20)));
      for await (const file of store.list(['index'])) {
        expect(file.type).toBe('index');
        break;
      }
      expect((await collect(store.list(['index']))).length).toBeGreaterThanOrEqual(3);
    });

    test('names that are no file names do not reach the store', async () => {
      const name = 'a'.repeat(64);
      for (const bad of ['', '../config', name.toUpperCase(), `${name}0`, `${'../'.repeat(21)}x`]) {
        for (const call of [
          async () => store.save({ type: 'data', name: bad }, Buffer.alloc(1)),
          async () => store.load({ type: 'keys', name: bad }),
          async () => store.stat({ type: 'index', name: bad }),
          async () => store.remove({ type: 'locks', name: bad }),
          async () => store.stat({ type: 'config', name }),
        ]) {
          expect((await failure(call())).message).toMatch(/is no file name/);
        }
      }
    });

    test('a call that was stopped before it began does nothing', async () => {
      const signal = AbortSignal.abort();
      const content = randomBytes(100);
      const handle = handleOf('data', content);
      const { handle: kept } = await saved(store, 'data', 100);
      for (const call of [
        () => store.save(handle, content, { signal }),
        () => store.load(kept, { signal }),
        () => store.stat(kept, signal),
        () => store.remove(kept, signal),
        () => store.create(signal),
        () => collect(store.list(['data'], signal)),
      ]) {
        const error = await failure(call());
        expect(error.kind).toBe('cancelled');
        expect(store.isPermanent(error)).toBe(true);
      }
      expect(isMissing(await failure(store.stat(handle)))).toBe(true);
      expect((await store.stat(kept)).size).toBe(100);
    });

    test('many calls at once do not get into each other’s way', async () => {
      const files = await Promise.all(Array.from({ length: 40 }, (_, i) => saved(store, 'data', i * 3000)));
      const loaded = await Promise.all(files.map(({ handle }) => store.load(handle)));
      loaded.forEach((bytes, i) =>
        expect(Buffer.from(bytes).equals(files[i]?.content ?? Buffer.alloc(1))).toBe(true),
      );
    });
  });
}

/** A file of random content under its true name. */
export async function saved(
  store: Store,
  type: FileType,
  size: number,
): Promise<{ handle: FileHandle; content: Buffer }> {
  const content = randomBytes(size);
  const handle = handleOf(type, content);
  await store.save(handle, content);
  return { handle, content };
}

export function handleOf(type: FileType, content: Uint8Array): FileHandle {
  return type === 'config' ? CONFIG : { type, name: createHash('sha256').update(content).digest('hex') };
}

export async function collect(files: AsyncIterable<FileInfo>): Promise<FileInfo[]> {
  const found: FileInfo[] = [];
  for await (const file of files) found.push(file);
  return found;
}

/** The error that a call must end with. */
export async function failure(call: Promise<unknown>): Promise<DatamoverError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof DatamoverError) return error;
    throw error;
  }
  throw new Error('the call should have failed');
}
