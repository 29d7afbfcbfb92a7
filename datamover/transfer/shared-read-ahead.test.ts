import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../e2e/servers/minio.ts';
import { noise } from '../repository/testing/bytes.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id } from '../repository/types.ts';
import { s3Subject } from '../store/s3/testing.ts';
import type { Subject } from '../store/store.suite.ts';
import type { FileHandle, LoadOptions } from '../store/store.ts';
import { StoreWrapper } from '../store/wrapper.ts';
import { merged } from '../volumes/zfs/merge/testing/merging.ts';
import { StreamEncoder } from '../volumes/zfs/testing/encoder.ts';
import { executeConsolidation, planConsolidation } from './consolidate.ts';
import { SharedReadAhead } from './shared-read-ahead.ts';
import { hour, send, withRepository } from './testing/chains.ts';
import { inFolder, newRepository } from './testing/volumes.ts';
import { VolumeReader } from './volume-reader.ts';

const BLOCK = 128 << 10;
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

/** A stream of one file, with these of its blocks. */
function fileStream(toGuid: bigint, fromGuid: bigint, blocks: readonly number[]): Buffer {
  const encoder = new StreamEncoder({ toGuid, fromGuid, featureFlags: 0x800004, content: 2, flags: 12 });
  encoder.record({
    type: 1,
    u64: { 8: 1, 40: toGuid },
    u32: { 16: 19, 20: 44, 24: BLOCK, 28: 8 },
    u8: { 34: 1 },
    payload: Buffer.alloc(8),
  });
  encoder.free(1, BLOCKS * BLOCK, (1n << 64n) - 1n);
  for (const block of blocks) encoder.write(1, block * BLOCK, noise(`${toGuid} ${block}`, BLOCK));
  return encoder.end();
}

const STREAMS = [
  fileStream(
    1n,
    0n,
    Array.from({ length: BLOCKS }, (_, block) => block),
  ),
  fileStream(2n, 1n, [3, 50]),
  fileStream(3n, 2n, [4, 90]),
];

describePeer('minio', 'blobs that a merge loads ahead, from MinIO', () => {
  let subject: Subject;
  let store: RequestCounter;
  let last: string;

  beforeAll(async () => {
    subject = await s3Subject(startMinio());
    await subject.store.create();
    store = new RequestCounter(subject.store);
    await (await newRepository(store)).close();
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

  test('the more a file is read, the more of it is on its way, up to a bound, and in its order', async () => {
    await withRepository(store, async (repository) => {
      const ids = await blocksOf(repository);
      expect(ids.length).toBeGreaterThan(6);
      const ahead = new SharedReadAhead(repository, undefined, { bytes: 64 << 20, blobs: 3 });
      const before = store.begun;
      const begun: number[] = [];
      for await (const blob of ahead.blobs(ids)) {
        const id = ids[begun.length] ?? '';
        expect(Buffer.from(await repository.loadBlob('data', id)).equals(blob)).toBe(true);
        // But for the one to compare with.
        begun.push(store.begun - before - begun.length - 1);
      }
      const expected = ids.map((_, taken) => Math.min(ids.length, taken + 1 + Math.min(taken, 3)));
      expect(begun).toEqual(expected);
    });
  }, 120_000);

  test('all files together have a bound in bytes, and one that is not read any more gives its room', async () => {
    await withRepository(store, async (repository) => {
      const ids = await blocksOf(repository);
      // A blob has half a MiB to eight.
      const ahead = new SharedReadAhead(repository, undefined, { bytes: 100, blobs: 8 });
      const before = store.begun;
      let taken = 0;
      for await (const blob of ahead.blobs(ids)) {
        expect([++taken, blob.length > 100]).toEqual([store.begun - before, true]);
      }

      const lengths: number[] = [];
      for (const id of ids) lengths.push((await repository.loadBlob('data', id)).length);
      // All of it is taken by the third blob of this one.
      const room = new SharedReadAhead(repository, undefined, { bytes: lengths[2] ?? 0, blobs: 8 });
      const idle = room.blobs(ids);
      for (let i = 0; i < 2; i++) await idle.next();
      // Who reads on for a while gets it.
      const base = store.begun;
      const early: number[] = [];
      let asked = 0;
      for await (const blob of room.blobs([...ids, ...ids])) {
        expect(blob.length).toBe(lengths[asked++ % ids.length]);
        early.push(store.begun - base - asked);
      }
      expect([early[0], early.some((count) => count > 0)]).toEqual([0, true]);
      const rest: number[] = [];
      for await (const blob of idle) rest.push(blob.length);
      expect(rest).toEqual(lengths.slice(2));
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
