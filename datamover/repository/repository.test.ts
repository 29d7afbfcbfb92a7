/* Long, for one repository in memory, and what reads and writes it by hand, serve every rule of order, damage and company. */
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { DatamoverError } from '../errors.ts';
import { FaultStore } from '../store/fault.ts';
import { MemoryStore } from '../store/memory.ts';
import type { FileHandle, FileType, FileInfo, LoadOptions, SaveOptions } from '../store/store.ts';
import { sha256, toBytes } from './id.ts';
import type { InitOptions } from './init.ts';
import { encodeIndexFile } from './index-file.ts';
import { adoptOrphans } from './orphans.ts';
import { Repository } from './repository.ts';
import type { Snapshot } from './snapshot.ts';
import { decodeTree, encodeTree, fileNode } from './tree.ts';
import type { Id } from './types.ts';

const PASSWORD = 'secret';
const MIB = 1024 * 1024;

/** A request that nobody answers. */
function untilStopped(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () =>
      reject(new DatamoverError({ operation: 'save', cause: 'stopped' })),
    );
  });
}

/** Remembers the calls, and can break single files and types. */
class WatchedStore extends MemoryStore {
  steps: string[] = [];
  broken: FileType | undefined;
  hangs = false;
  hangsOnRemove = false;
  hold: { readonly type: FileType; readonly until: Promise<unknown> } | undefined;

  override async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    this.steps.push(`save ${file.type}`);
    if (file.type === this.broken) throw new DatamoverError({ operation: 'save', cause: 'disk full' });
    if (file.type === this.hold?.type) await this.hold.until;
    if (this.hangs) await untilStopped(options?.signal);
    return super.save(file, content, options);
  }

  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    this.steps.push(`load ${file.type}`);
    return super.load(file, options);
  }

  override list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    this.steps.push(`list ${types.join(',')}`);
    return super.list(types, signal);
  }

  override async remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    this.steps.push(`remove ${file.type}`);
    if (this.hangsOnRemove) await untilStopped(signal);
    return super.remove(file);
  }

  async change(type: FileType, name: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
    await super.save({ type, name }, change(await super.load({ type, name })));
  }

  async names(type: FileType): Promise<string[]> {
    const found: string[] = [];
    for await (const { name } of super.list([type])) found.push(name);
    return found;
  }

  /** Steps that change something, repetitions folded. */
  get writes(): string[] {
    return this.steps.filter((step, i) => /^(save|remove)/.test(step) && step !== this.steps[i - 1]);
  }
}

/** Everything of one test: a repository with one backup of `contents`, locked and loaded. */
async function backUp(repository: Repository, contents: readonly Uint8Array[]): Promise<Id> {
  const ids: Id[] = [];
  for (const content of contents) ids.push(await repository.saveBlob('data', content));
  const size = contents.reduce((sum, content) => sum + content.length, 0);
  const tree = await repository.saveBlob('tree', encodeTree([fileNode('data', size, ids)]));
  const snapshot: Snapshot = {
    time: new Date().toISOString(),
    tree,
    paths: ['/ns/pvc'],
    hostname: 'h',
    tags: ['t'],
  };
  return repository.saveSnapshot(snapshot);
}

async function readBack(repository: Repository, id: Id): Promise<Uint8Array> {
  const { tree } = await repository.loadSnapshot(id);
  const [file] = decodeTree(await repository.loadBlob('tree', tree), 'tree');
  const parts: Uint8Array[] = [];
  for (const blob of file?.content ?? []) parts.push(await repository.loadBlob('data', blob));
  return Buffer.concat(parts);
}

/** With a key derivation that costs nothing. */
const init = (options: InitOptions = {}, place: WatchedStore = store): Promise<Repository> =>
  Repository.init(place, PASSWORD, { ...options, kdf: { N: 16, r: 1, p: 1 } });

let store: WatchedStore;
const reopen = async (): Promise<Repository> => {
  const repository = await Repository.open(store, PASSWORD);
  await repository.loadIndex();
  return repository;
};

beforeEach(() => {
  store = new WatchedStore();
});

describe.each([1, 2] as const)('a repository of version %i', (version) => {
  test('F-13 gives back what went in, and stores nothing twice', async () => {
    const repository = await init({ version });
    await repository.lock('shared');
    await repository.loadIndex();
    const contents = [
      randomBytes(MIB),
      Buffer.alloc(MIB),
      Buffer.from('text '.repeat(1000)),
      Buffer.alloc(0),
    ];
    const id = await backUp(repository, contents);
    const packs = await store.names('data');
    const again = await backUp(repository, contents);
    await repository.close();
    expect(await store.names('data')).toEqual(packs);
    const fresh = await reopen();
    for (const snapshot of [id, again])
      expect(Buffer.concat(contents).equals(await readBack(fresh, snapshot))).toBe(true);
    for (const pack of packs) {
      const { size } = await store.stat({ type: 'data', name: pack });
      const blobs = await fresh.loadPackHeader(pack, size);
      expect(new Set(blobs.map((blob) => blob.type)).size).toBe(1);
      if (version === 1) expect(blobs.every((blob) => blob.uncompressedLength === 0)).toBe(true);
      for (const blob of blobs)
        expect(fresh.index.lookup(blob.type, toBytes(blob.id))).toMatchObject({ pack, offset: blob.offset });
    }
  });
});

describe('order', () => {
  test('F-19 packs are stored before the index that names them, the index before the snapshot', async () => {
    const repository = await init();
    await repository.lock('shared');
    await repository.loadIndex();
    store.steps = [];
    await backUp(repository, [randomBytes(100)]);
    expect(store.writes).toEqual(['save data', 'save index', 'save snapshots']);
  });

  test.each<[FileType, string[]]>([
    ['data', ['save data']],
    ['index', ['save data', 'save index']],
  ])('F-19 where %s cannot be written, nothing that needs it is', async (broken, expected) => {
    const repository = await init();
    await repository.loadIndex();
    store.steps = [];
    store.broken = broken;
    await expect(backUp(repository, [randomBytes(100)])).rejects.toThrow('disk full');
    expect(store.writes).toEqual(expected);
    expect(await store.names('snapshots')).toEqual([]);
  });

  test('an index file that failed is written with the next one', async () => {
    const repository = await init();
    await repository.loadIndex();
    store.broken = 'index';
    const content = randomBytes(100);
    await expect(backUp(repository, [content])).rejects.toThrow('disk full');
    store.broken = undefined;
    const id = await backUp(repository, [content]);
    expect(Buffer.from(await readBack(await reopen(), id)).equals(content)).toBe(true);
  });

  test('F-19 a snapshot waits for an index file that is under way', async () => {
    const repository = await init();
    await repository.loadIndex();
    const slow = Promise.withResolvers<undefined>();
    store.hold = { type: 'index', until: slow.promise };
    const blobs = Array.from({ length: 50_000 }, (_, i) => ({
      id: sha256(Buffer.from(String(i))),
      type: 'data' as const,
      offset: i,
      length: 1,
      uncompressedLength: 0,
    }));
    store.steps = [];
    // Not awaited: a pack large enough for an index file of its own.
    const packs = repository.addPack({ id: 'ab'.repeat(32), blobs });
    const snapshot = repository.saveSnapshot({
      time: '2026-11-20T12:00:00Z',
      tree: 'ab'.repeat(32),
      paths: [],
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(store.writes).toEqual(['save index']);
    slow.resolve(undefined);
    await Promise.all([packs, snapshot]);
    expect(store.writes).toEqual(['save index', 'save snapshots']);
  });

  test('opening and locking cost two listings', async () => {
    await init();
    store.steps = [];
    const repository = await Repository.open(store, PASSWORD);
    await repository.lock('shared');
    await repository.loadIndex();
    await backUp(repository, [randomBytes(100)]);
    await repository.close();
    expect(store.steps.filter((step) => step.startsWith('list'))).toEqual([
      'list keys,locks,index,snapshots',
      'list locks,index,snapshots',
    ]);
    expect(await store.names('locks')).toEqual([]);
  });

  test('F-27 nothing is written once the lock is lost', async () => {
    const repository = await init();
    const { handle } = await repository.lock('shared');
    await repository.loadIndex();
    await handle.release();
    store.steps = [];
    await expect(backUp(repository, [randomBytes(100)])).rejects.toThrow('keep lock');
    expect(store.writes).toEqual([]);
  });

  test('F-27 a write that is under way when the lock is lost ends with it', async () => {
    const repository = await init();
    const { handle } = await repository.lock('shared');
    await repository.loadIndex();
    store.hangs = true;
    const bytes = randomBytes(100);
    const writes = [
      repository.saveFile('snapshots', bytes),
      repository.storePack({ id: sha256(bytes), blobs: [] }, bytes),
    ];
    const outcomes = Promise.allSettled(writes);
    await handle.release();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { operation: 'keep lock' } });
    }
  });

  test('F-29 packs are removed only under a lock that keeps others out', async () => {
    const repository = await init();
    await expect(repository.removePack('ab'.repeat(32))).rejects.toThrow('the repository is not locked');
    await expect(repository.removeFile('index', 'ab'.repeat(32))).rejects.toThrow(
      'the repository is not locked',
    );
    await repository.lock('shared');
    await expect(repository.removePack('ab'.repeat(32))).rejects.toThrow('shared lock');
    await repository.close();
    await repository.lock('exclusive');
    await repository.removePack('ab'.repeat(32));
    await repository.close();
  });
});

describe('blobs that are newer than the index', () => {
  const contents = [randomBytes(10), randomBytes(20), randomBytes(30)];
  let reader: Repository;

  beforeEach(async () => {
    const writer = await init();
    reader = await reopen();
    await writer.lock('shared');
    await writer.loadIndex();
    await backUp(writer, contents);
  });

  const load = async (content: Buffer, signal?: AbortSignal): Promise<boolean> =>
    content.equals(await reader.loadBlob('data', sha256(content), signal));
  const listings = (): number => store.steps.filter((step) => step === 'list index').length;

  test('are found by all who ask at once, in one listing', async () => {
    const before = listings();
    expect(await Promise.all(contents.map((content) => load(content)))).toEqual([true, true, true]);
    expect(listings() - before).toBe(1);
  });

  test('are found by the others where the one who looked was stopped', async () => {
    const stop = new AbortController();
    const loads = contents.map((content, i) => load(content, i === 0 ? stop.signal : undefined));
    stop.abort();
    expect((await Promise.allSettled(loads)).map(({ status }) => status)).toEqual([
      'rejected',
      'fulfilled',
      'fulfilled',
    ]);
  });

  test('are not called lost where it could not be looked for them', async () => {
    const faulty = new FaultStore(store);
    reader = await Repository.open(faulty, PASSWORD);
    await reader.loadIndex();
    const unknown = sha256(randomBytes(5));
    faulty.plan({ fault: 'fail', on: 'list', type: 'index' });
    for (const result of await Promise.allSettled([1, 2].map(() => reader.loadBlob('data', unknown))))
      expect(result).toMatchObject({ reason: { message: expect.stringMatching(/a planned fault/) } });
    await expect(reader.loadBlob('data', unknown)).rejects.toThrow(/no index file names it/);
  });
});

describe('damage', () => {
  let repository: Repository;
  let snapshot: Id;
  const content = randomBytes(1000);

  beforeEach(async () => {
    repository = await init();
    await repository.loadIndex();
    snapshot = await backUp(repository, [content]);
    await backUp(repository, [randomBytes(10)]);
  });

  const damages: [string, (bytes: Uint8Array) => Uint8Array][] = [
    ['cut short', (bytes) => bytes.slice(0, -1)],
    ['empty', () => new Uint8Array(0)],
    ['flipped', (bytes) => bytes.with(bytes.length >> 1, (bytes[bytes.length >> 1] ?? 0) ^ 1)],
  ];

  test.each(damages)(
    'F-01 F-33 an index file that is %s is named, and the rest can be read',
    async (_, damage) => {
      const [first = ''] = await store.names('index');
      await store.change('index', first, damage);
      const fresh = await Repository.open(store, PASSWORD);
      await expect(fresh.loadIndex()).rejects.toThrow(
        new RegExp(
          `^read index file ${first.slice(0, 8)}: its \\d+ bytes do not have the SHA-256 that names it`,
        ),
      );
      const problems: string[] = [];
      const other = await Repository.open(store, PASSWORD);
      await other.loadIndex({ onProblem: (problem, { id }) => problems.push(`${id} ${problem.message}`) });
      expect(problems.map((problem) => problem.slice(0, 64))).toEqual([first]);
      expect(other.index.blobCount).toBe(2);
      const files: Id[] = [];
      for await (const { id } of other.indexFiles({ onProblem: () => undefined })) files.push(id);
      expect(files.length).toBe(1);
      await expect(other.loadBlob('data', sha256(content))).rejects.toThrow(
        `no index file names it, and one cannot be read: read index file ${first.slice(0, 8)}`,
      );
    },
  );

  test.each(damages)(
    'F-01 F-33 a snapshot that is %s is named, and the rest can be read',
    async (_, damage) => {
      await store.change('snapshots', snapshot, damage);
      const fresh = await Repository.open(store, PASSWORD);
      const walk = async (): Promise<void> => {
        for await (const { id } of fresh.snapshots()) expect(id).not.toBe(snapshot);
      };
      await expect(walk()).rejects.toThrow(`read snapshot ${snapshot.slice(0, 8)}: `);
      const [problems, good]: [Id[], Id[]] = [[], []];
      for await (const { id } of fresh.snapshots({ onProblem: (_problem, file) => problems.push(file.id) }))
        good.push(id);
      expect([problems, good.length]).toEqual([[snapshot], 1]);
    },
  );

  test.each(damages)('F-17 F-33 a pack that is %s: its blob is never handed out', async (_, damage) => {
    for (const pack of await store.names('data')) await store.change('data', pack, (bytes) => damage(bytes));
    const fresh = await reopen();
    const [pack = ''] = await store.names('data');
    const { size } = await store.stat({ type: 'data', name: pack });
    const outcomes = await Promise.allSettled([
      fresh.loadBlob('data', sha256(content)),
      fresh.loadPackHeader(pack, size),
    ]);
    expect(outcomes.some((outcome) => outcome.status === 'rejected')).toBe(true);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(DatamoverError);
    const [blob] = outcomes;
    if (blob.status === 'fulfilled') expect(content.equals(blob.value)).toBe(true);
  });

  test('F-02 a file under its right name but of another key is refused', async () => {
    const strange = new WatchedStore();
    const other = await init({}, strange);
    const id = await other.saveFile('snapshots', Buffer.from('{}'));
    await store.save({ type: 'snapshots', name: id }, await strange.load({ type: 'snapshots', name: id }));
    await expect(repository.loadSnapshot(id)).rejects.toThrow(
      `decrypt snapshot ${id.slice(0, 8)}: the message authentication code`,
    );
  });

  test('what may pass by itself is no damage: a walk does not go on without the file', async () => {
    class Flaky extends WatchedStore {
      override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
        if (file.type === 'snapshots')
          throw new DatamoverError({ operation: 'load', cause: 'timeout', retryable: true });
        return store.load(file, options);
      }

      override list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
        return store.list(types, signal);
      }
    }
    const fresh = await Repository.open(new Flaky(), PASSWORD);
    const walk = async (): Promise<void> => {
      for await (const { id } of fresh.snapshots({ onProblem: () => undefined })) expect(id).toBe('');
    };
    await expect(walk()).rejects.toThrow('timeout');
  });
});

describe('company', () => {
  test('F-34 an index file that was replaced while it was to be read is found in its successor', async () => {
    const repository = await init();
    await repository.loadIndex();
    const content = randomBytes(100);
    const id = await backUp(repository, [content]);
    const late = await Repository.open(store, PASSWORD);
    const [old = ''] = await store.names('index');
    const files = repository.indexFiles();
    await repository.relist();
    const packs = [];
    for await (const { file } of files) packs.push(...file.packs);
    await repository.saveIndex(packs, [old]);
    await store.remove({ type: 'index', name: old });
    await late.loadIndex();
    expect(content.equals(await readBack(late, id))).toBe(true);
  });

  test('F-34 a blob that came after we loaded the index is found', async () => {
    const repository = await init();
    await repository.loadIndex();
    const reader = await reopen();
    const content = randomBytes(100);
    const id = await backUp(repository, [content]);
    expect(content.equals(await readBack(reader, id))).toBe(true);
  });

  test('F-34 a snapshot that is forgotten while the list is read is left out, and what took its place is there', async () => {
    const repository = await init();
    await repository.loadIndex();
    const id = await backUp(repository, [randomBytes(10)]);
    const reader = await Repository.open(store, PASSWORD);
    const other = await backUp(repository, [randomBytes(10)]);
    await store.remove({ type: 'snapshots', name: id });
    const seen: Id[] = [];
    for await (const found of reader.snapshots()) seen.push(found.id);
    expect(seen).toEqual([other]);
  });

  test('F-15 a backup stores anew what lies in marked packs, and they stay readable', async () => {
    const repository = await init();
    await repository.loadIndex();
    const content = randomBytes(100);
    const first = await backUp(repository, [content]);
    await repository.relist();
    for await (const { id, file } of repository.indexFiles()) {
      const packsToDelete = file.packs.map((pack) => ({ ...pack, time: new Date().toISOString() }));
      await repository.saveFile('index', encodeIndexFile({ ...file, packsToDelete, supersedes: [id] }));
      await repository.files.remove('index', id);
    }
    const marked = await store.names('data');
    const other = await reopen();
    expect(content.equals(await readBack(other, first))).toBe(true);
    await backUp(other, [content]);
    const now = await store.names('data');
    expect(now.length).toBe(2 * marked.length);
    expect(now).toEqual(expect.arrayContaining(marked));
  });
});

describe('after a crash', () => {
  test('packs that no index names are adopted: nothing is stored twice', async () => {
    const repository = await init();
    await repository.loadIndex();
    const content = randomBytes(5000);
    store.broken = 'index';
    await expect(backUp(repository, [content])).rejects.toThrow('disk full');
    store.broken = undefined;
    const packs = await store.names('data');
    expect(packs.length).toBeGreaterThan(0);
    await store.save({ type: 'data', name: 'ab'.repeat(32) }, randomBytes(300));
    const next = await reopen();
    const { adopted, unreadable } = await adoptOrphans(next, []);
    expect([...adopted].sort()).toEqual([...packs].sort());
    expect(unreadable.map(({ id }) => id)).toEqual(['ab'.repeat(32)]);
    await backUp(next, [content]);
    expect((await store.names('data')).length).toBe(packs.length + 1);
    expect((await adoptOrphans(await reopen(), [])).adopted).toEqual([]);
  });

  test('nothing is adopted beside a sweep, which may be about to delete what no index names', async () => {
    const repository = await init();
    await repository.loadIndex();
    store.broken = 'index';
    await expect(backUp(repository, [randomBytes(5000)])).rejects.toThrow('disk full');
    store.broken = undefined;
    const sweeper = await Repository.open(store, PASSWORD);
    await sweeper.lock('sweep');
    const next = await reopen();
    expect((await adoptOrphans(next, [])).adopted).toEqual([]);
    await sweeper.close();
    expect((await adoptOrphans(next, [])).adopted.length).toBeGreaterThan(0);
  });
});

describe('a backup session', () => {
  const pack = async (repository: Repository, dryRun: boolean): Promise<{ packs: number; bytes: number }> => {
    const session = repository.beginBackup({ dryRun });
    await session.saveTree(
      encodeTree([fileNode('volume.json', 3, [await session.saveData(Buffer.from('{}\n'))])]),
    );
    await session.flush();
    return session.stored();
  };

  test('counts what it stores; a dry run counts the same and stores nothing', async () => {
    const repository = await init();
    await repository.loadIndex();
    const rehearsal = await pack(repository, true);
    expect(await store.names('data')).toEqual([]);
    const real = await pack(repository, false);
    expect(real).toEqual(rehearsal);
    expect(real.packs).toBe(2);
    expect((await store.names('data')).length).toBe(2);
    expect(await pack(repository, false)).toEqual({ packs: 0, bytes: 0 });
  });

  test('is alone: another one would take its claims for stored blobs', async () => {
    const repository = await init();
    await repository.loadIndex();
    const first = repository.beginBackup();
    await first.saveData(randomBytes(100));
    expect(() => repository.beginBackup()).toThrow('a backup is under way');
    await first.abandon();
    const second = repository.beginBackup();
    await second.saveData(randomBytes(100));
    await second.flush();
    expect(repository.beginBackup().isOpen).toBe(true);
  });

  test('beside a store that does not answer, giving up takes no longer than it is given', async () => {
    const repository = await init();
    await repository.lock('shared');
    await repository.loadIndex();
    const session = repository.beginBackup();
    await session.storePack(
      {
        id: sha256(Buffer.from('pack')),
        blobs: [
          { id: sha256(Buffer.from('blob')), type: 'data', offset: 0, length: 36, uncompressedLength: 0 },
        ],
      },
      Buffer.from('pack'),
    );
    store.hangs = store.hangsOnRemove = true;
    store.steps = [];
    await session.abandon(AbortSignal.timeout(100));
    await expect(repository.close(AbortSignal.timeout(100))).rejects.toThrow('stopped');
    expect(store.steps).toEqual(['save index', 'remove locks']);
  });

  test('gives its claims back when it is abandoned', async () => {
    const repository = await init();
    await repository.loadIndex();
    const session = repository.beginBackup();
    const id = await session.saveData(Buffer.from('never stored'));
    await session.abandon();
    expect(await store.names('data')).toEqual([]);
    await repository.saveBlob('data', Buffer.from('never stored'));
    await repository.flush();
    expect(Buffer.from(await repository.loadBlob('data', id)).toString()).toBe('never stored');
  });
});
