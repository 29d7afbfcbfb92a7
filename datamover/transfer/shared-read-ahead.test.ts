import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash, type Hash } from 'node:crypto';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../e2e/servers/minio.ts';
import { toBytes } from '../repository/id.ts';
import { plainLength } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id } from '../repository/types.ts';
import { s3Subject } from '../store/s3/testing.ts';
import type { Subject } from '../store/store.suite.ts';
import type { FileHandle, LoadOptions } from '../store/store.ts';
import { StoreWrapper } from '../store/wrapper.ts';
import { merged } from '../volumes/zfs/merge/testing/merging.ts';
import { executeConsolidation, planConsolidation } from './consolidate.ts';
import { PIECE_BYTES } from './piece-room.ts';
import { SharedReadAhead } from './shared-read-ahead.ts';
import { hour, send, withRepository } from './testing/chains.ts';
import { fileStream } from './testing/file-stream.ts';
import { inFolder, newRepository } from './testing/volumes.ts';
import { VolumeReader } from './volume-reader.ts';

const BLOCKS = 112;

/** Requests for parts of packs. */
class RequestCounter extends StoreWrapper {
  begun = 0;
  pending = 0;
  mostAtOnce = 0;
  readonly ranges = new Set<string>();

  override async load(file: FileHandle, options: LoadOptions = {}): Promise<Uint8Array> {
    if (file.type !== 'data') return this.inner.load(file, options);
    this.begun++;
    this.ranges.add(`${file.name} ${options.range?.offset ?? ''}`);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.pending);
    try {
      return await this.inner.load(file, options);
    } finally {
      this.pending--;
    }
  }
}

const STREAMS = [
  fileStream(1n, 0n, BLOCKS, Array(BLOCKS).keys()),
  fileStream(2n, 1n, BLOCKS, [3, 50]),
  fileStream(3n, 2n, BLOCKS, [4, 90]),
];

const LONGEST_BLOB = 8 << 20;

/** False at the end of the file. */
async function takePiece({
  pieces,
  read,
}: {
  readonly pieces: AsyncGenerator<Uint8Array>;
  readonly read: Hash;
}): Promise<boolean> {
  const next = await pieces.next();
  if (next.done !== true) read.update(next.value);
  return next.done !== true;
}

describePeer('minio', 'blobs that a merge loads ahead, from MinIO', () => {
  let subject: Subject;
  let store: RequestCounter;
  let last: string;

  beforeAll(async () => {
    subject = await s3Subject(startMinio());
    await subject.store.create();
    store = new RequestCounter(subject.store);
    // Cut in the same places each time.
    await (await newRepository(store, { polynomial: '25b468838dcb75' })).close();
    await inFolder(async (folder) => {
      for (const [i, stream] of STREAMS.entries()) {
        const { snapshotId = '' } = await send(store, folder, stream, { time: hour(i) });
        last = snapshotId;
      }
    });
  }, 120_000);

  afterAll(async () => {
    await subject.store.close();
    await subject.dispose?.();
  });

  /** The blobs of the full stream's blocks. */
  const blocksOf = async (repository: Repository): Promise<readonly Id[]> => {
    const reader = await VolumeReader.open(repository, last, await repository.loadSnapshot(last));
    const files = await reader.stream(0);
    return files.kind === 'apart' ? files.blocks.content : [];
  };

  /** The blobs of a file, each once its last piece was read. */
  async function* blobsOf(
    repository: Repository,
    ahead: SharedReadAhead,
    ids: readonly Id[],
  ): AsyncGenerator<Buffer, undefined> {
    const lengths = ids.map((id) => plainLength(repository.index.lookup('data', toBytes(id))!));
    let pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of ahead.pieces(ids)) {
      // Whoever asks for the next has given the memory back.
      pieces.push(Buffer.from(piece));
      bytes += piece.length;
      if (bytes < (lengths[0] ?? 0)) continue;
      yield Buffer.concat(pieces);
      lengths.shift();
      pieces = [];
      bytes = 0;
    }
  }

  test('the more a file is read, the more of it is on its way, up to a bound, and in its order', async () => {
    await withRepository(store, async (repository) => {
      const ids = await blocksOf(repository);
      expect(ids.length).toBeGreaterThan(6);
      const limits = { bytes: 64 << 20, blobs: 3, onTheWay: 64 << 20 };
      const ahead = new SharedReadAhead(repository, undefined, limits);
      const before = store.begun;
      const begun: number[] = [];
      for await (const blob of blobsOf(repository, ahead, ids)) {
        const id = ids[begun.length] ?? '';
        expect(Buffer.from(await repository.loadBlob('data', id)).equals(blob)).toBe(true);
        // But for the one to compare with.
        begun.push(store.begun - before - begun.length - 1);
      }
      const expected = ids.map((_, taken) => Math.min(ids.length, taken + 1 + Math.min(taken, 3)));
      expect(begun).toEqual(expected);
    });
  }, 120_000);

  test('one that is not read any more gives its room, and what is on its way at once has a bound', async () => {
    await withRepository(store, async (repository) => {
      const ids = await blocksOf(repository);
      const one = new SharedReadAhead(repository, undefined, { onTheWay: 1 });
      store.mostAtOnce = 0;
      let asked = 0;
      for await (const blob of blobsOf(repository, one, ids)) asked += blob.length > 0 ? 1 : 0;
      expect([asked, store.mostAtOnce]).toEqual([ids.length, 1]);

      // As much as one that has read two blobs takes.
      const room = new SharedReadAhead(repository, undefined, { bytes: LONGEST_BLOB, blobs: 8 });
      const idle = blobsOf(repository, room, ids);
      const lengths: number[] = [];
      for (let i = 0; i < 2; i++) lengths.push((await idle.next()).value?.length ?? 0);
      const base = store.begun;
      const early: number[] = [];
      for await (const blob of blobsOf(repository, room, [...ids, ...ids])) {
        expect(blob.length).toBeGreaterThan(0);
        early.push(store.begun - base - early.length - 1);
      }
      expect([early[0], early.some((count) => count > 0)]).toEqual([0, true]);
      for await (const blob of idle) lengths.push(blob.length);
      expect(lengths).toEqual(ids.map((id) => plainLength(repository.index.lookup('data', toBytes(id))!)));
    });
  }, 120_000);

  test('blobs of more files than there is room for are loaded again, and come out whole', async () => {
    await withRepository(store, async (repository) => {
      const ids = (await blocksOf(repository)).slice(0, 2);
      const blobs = await Promise.all(ids.map((id) => repository.loadBlob('data', id)));
      const before = store.begun;
      const ahead = new SharedReadAhead(repository, undefined, { bytes: LONGEST_BLOB });
      const files = Array.from({ length: 10 }, () => ({
        pieces: ahead.pieces(ids),
        read: createHash('md5'),
      }));
      for (let left = files; left.length > 0;) {
        // All are asked at once, in each turn.
        const more = await Promise.all(left.map(async (file) => takePiece(file)));
        left = left.filter((_, i) => more[i]);
      }
      const expected = createHash('md5').update(Buffer.concat(blobs)).digest('hex');
      expect(new Set(files.map(({ read }) => read.digest('hex')))).toEqual(new Set([expected]));
      const loads = store.begun - before;
      expect(loads).toBeGreaterThan(files.length * ids.length);
      // Who gave room up has lost the end of a blob, not all of it.
      expect(loads).toBeLessThan(4 * files.length * ids.length);
    });
  }, 120_000);

  test('more files than there are pieces wait for no room that nobody can give', async () => {
    await withRepository(store, async (repository) => {
      const [id = ''] = await blocksOf(repository);
      const ahead = new SharedReadAhead(repository, undefined, { bytes: 0 });
      const pieces = LONGEST_BLOB / PIECE_BYTES;
      const files = Array.from({ length: pieces + 1 }, () => ahead.pieces([id]));
      const first = await Promise.all(
        files.map(async (file) => {
          const next = await file.next();
          return next.done === true ? 0 : next.value.length;
        }),
      );
      expect(first).toEqual(files.map(() => PIECE_BYTES));
      await Promise.all(files.map(async (file) => file.return(undefined)));
    });
  }, 120_000);

  test('a consolidation has several requests at once, and asks for no blob twice', async () => {
    await withRepository(store, async (repository) => {
      const plan = await planConsolidation(repository, last);
      store.mostAtOnce = 0;
      store.ranges.clear();
      const before = store.begun;
      const { bytes } = await executeConsolidation(repository, plan, { workers: 1 });
      expect(bytes).toBe((await merged(STREAMS)).length);
      expect(store.mostAtOnce).toBeGreaterThanOrEqual(2);
      expect(store.begun - before).toBe(store.ranges.size);
    });
  }, 120_000);
});
