import { describe, expect, test } from '@jest/globals';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { checkRepository } from '../repository/check.ts';
import type { Repository } from '../repository/repository.ts';
import { encodeTree, fileNode, folderNode, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import type { Store } from '../store/store.ts';
import type { VolumeTarget } from '../volumes/driver.ts';
import { StreamEncoder } from '../volumes/zfs/testing/encoder.ts';
import { fixtureBytes } from '../volumes/zfs/testing/fixtures.ts';
import { readStream } from '../volumes/zfs/testing/reading.ts';
import { resent } from '../volumes/zfs/testing/resent.ts';
import type { BackupSummary } from './backup.ts';
import { restoreChain } from './chain-restore.ts';
import { encodeVolumeRecord } from './layout.ts';
import { Tally } from './restore-tally.ts';
import { streamBytes } from './stream-bytes.ts';
import { hour, newStore, read, restored, send, withRepository } from './testing/chains.ts';
import { inFolder, readBackup } from './testing/volumes.ts';
import { VolumeReader, type ContentFile } from './volume-reader.ts';

const CUT = 1 << 20;
/** Cuts depend on it, and with them how much one changed block costs. */
const POLYNOMIAL = '25b468838dcb75';

async function filesOf(
  store: Store,
  summary: BackupSummary,
  number: number,
): Promise<{ records: ContentFile; blocks: ContentFile }> {
  const files = await (await read(store, summary)).stream(number);
  if (files.kind === 'whole') throw new Error('it lies in one file');
  return files;
}

async function contentOf(store: Store, { content }: ContentFile): Promise<Buffer> {
  return withRepository(store, async (repository) =>
    Buffer.concat(await Promise.all(content.map((id) => repository.loadBlob('data', id)))),
  );
}

async function saved(repository: Repository, bytes: Buffer): Promise<Id[]> {
  const ids: Id[] = [];
  for (let at = 0; at < bytes.length; at += CUT)
    ids.push(await repository.saveBlob('data', bytes.subarray(at, at + CUT)));
  return ids;
}

/** The backup of one stream again, and in the folder of the stream these files. */
async function withFiles(
  store: Store,
  { snapshotId = '' }: BackupSummary,
  files: Readonly<Record<string, Buffer>>,
): Promise<BackupSummary> {
  return withRepository(store, async (repository) => {
    const snapshot = await repository.loadSnapshot(snapshotId);
    const { record } = await VolumeReader.open(repository, snapshotId, snapshot);
    const nodes: TreeNode[] = [];
    for (const [name, bytes] of Object.entries(files))
      nodes.push(fileNode(name, bytes.length, await saved(repository, bytes)));
    const save = (tree: readonly TreeNode[]): Promise<Id> => repository.saveBlob('tree', encodeTree(tree));
    const stream = folderNode(record.streams?.[0]?.folder ?? '', await save(nodes));
    const json = Buffer.from(encodeVolumeRecord(record));
    const tree = await save([
      fileNode('volume.json', json.length, await saved(repository, json)),
      folderNode('streams', await save([stream])),
    ]);
    await repository.store.remove({ type: 'snapshots', name: snapshotId });
    return { snapshotId: await repository.saveSnapshot({ ...snapshot, tree }) } as BackupSummary;
  });
}

describe('a stream in two files', () => {
  test('F-56 records has the headers and small payloads, blocks the payloads of WRITE records', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const stream = fixtureBytes('fs-full');
      const summary = await send(store, folder, stream, { time: hour(0) });
      const { records, blocks } = await filesOf(store, summary, 0);
      const expected = readStream(stream);
      const payloads = expected.flatMap(({ record, payload }) => (record.type === 'WRITE' ? [payload] : []));
      expect((await contentOf(store, blocks)).equals(Buffer.concat(payloads))).toBe(true);
      expect(records.bytes).toBe(stream.length - blocks.bytes);
      expect((await contentOf(store, records)).subarray(0, 312).equals(stream.subarray(0, 312))).toBe(true);
      // Without blocks it is an empty file.
      const none = new StreamEncoder({ toGuid: 5n }).end();
      const empty = await send(store, folder, none, { time: hour(1) });
      expect((await filesOf(store, empty, 0)).blocks).toMatchObject({ bytes: 0, content: [] });
      expect((await restored(store, folder, empty)).equals(none)).toBe(true);
      const missing = await withFiles(store, empty, { records: none });
      expect((await restored(store, folder, missing)).equals(none)).toBe(true);
    });
  });

  test('F-57 a second full stream stores its records and what lies around changed blocks', async () => {
    await inFolder(async (folder) => {
      const store = await newStore({ polynomial: POLYNOMIAL });
      const stream = fixtureBytes('fs-full');
      const first = await send(store, folder, stream, { time: hour(0) });
      const { records, blocks } = await filesOf(store, first, 0);
      expect(first.readBytes).toBe(stream.length);
      const same = resent(stream, 77n);
      const second = await send(store, folder, same, { time: hour(1) });
      expect(second.newBytes).toBeLessThanOrEqual(records.bytes);
      expect(second.deduplicatedBytes + second.zeroBytes).toBeGreaterThanOrEqual(blocks.bytes);
      expect(second.storedBytes).toBeLessThan(records.bytes / 2);
      expect((await restored(store, folder, second)).equals(same)).toBe(true);
      let writes = 0;
      const changed = resent(stream, 78n, (record, payload) =>
        record.type === 'WRITE' && ++writes === 20 ? payload.fill(1, 0, 1) : payload,
      );
      const third = await send(store, folder, changed, { time: hour(2) });
      expect(third.newBytes).toBeLessThan(records.bytes + blocks.bytes / 2);
      expect((await restored(store, folder, third)).equals(changed)).toBe(true);
      expect(third.readBytes).toBe(third.newBytes + third.deduplicatedBytes + third.zeroBytes);
    });
  });

  test('F-58 a chain whose first stream is one file goes on with streams in two', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const full = fixtureBytes('fs-full');
      const first = await send(store, folder, full, { time: hour(0) });
      const old = await withFiles(store, first, { send: full });
      expect((await restored(store, folder, old)).equals(full)).toBe(true);
      const [one, two] = [fixtureBytes('fs-inc1'), fixtureBytes('fs-inc2')];
      await send(store, folder, one, { time: hour(1) });
      const last = await send(store, folder, two, { time: hour(2) });
      const reader = await read(store, last);
      expect((await reader.streamFolders())[0]).toEqual((await (await read(store, old)).streamFolders())[0]);
      expect((await reader.stream(0)).kind).toBe('whole');
      expect((await reader.stream(2)).kind).toBe('apart');
      const whole = Buffer.concat([full, one, two]);
      expect((await restored(store, folder, last)).equals(whole)).toBe(true);
      for (const [number, bytes] of [full, one, two].entries())
        expect((await restored(store, folder, last, { stream: String(number) })).equals(bytes)).toBe(true);
      const read0 = await withRepository(store, (repository) =>
        readBackup(repository, last.snapshotId ?? ''),
      );
      expect(read0.equals(whole)).toBe(true);
      const { problems } = await withRepository(store, (repository) =>
        checkRepository(repository, { readData: { kind: 'all' } }),
      );
      expect(problems).toEqual([]);
    });
  });

  test('F-56 files that do not make the stream are refused, and leave nothing', async () => {
    await inFolder(async (folder) => {
      const store = await newStore();
      const stream = fixtureBytes('fs-full');
      const summary = await send(store, folder, stream, { time: hour(0) });
      const files = await filesOf(store, summary, 0);
      const records = await contentOf(store, files.records);
      const blocks = await contentOf(store, files.blocks);
      const end = records.length - 312;
      let last = summary;
      for (const [broken, reason] of [
        [
          { records: records.subarray(0, end), blocks: Buffer.concat([blocks, records.subarray(end)]) },
          /^put together streams\/0000-\d+\/records: its file blocks has more than its records name/,
        ],
        [{ records, blocks: blocks.subarray(1) }, /its stream 0 is not what volume\.json says/],
        [{ other: stream }, /has neither a file records nor send/],
      ] as const) {
        last = await withFiles(store, last, broken);
        await expect(restored(store, folder, last)).rejects.toThrow(reason);
        await expect(access(join(folder, 'restored'))).rejects.toMatchObject({ code: 'ENOENT' });
      }
    });
  });
});

test('a stream that is stopped says so, and whoever stops reading stops the loading', async () => {
  await inFolder(async (folder) => {
    const store = await newStore();
    const { snapshotId = '' } = await send(store, folder, fixtureBytes('fs-full'));
    await withRepository(store, async (repository) => {
      const volume = await VolumeReader.open(
        repository,
        snapshotId,
        await repository.loadSnapshot(snapshotId),
      );
      const stop = new AbortController();
      const reading = async (): Promise<void> => {
        for await (const chunk of streamBytes(repository, volume, 0, { signal: stop.signal })) {
          expect(chunk.length).toBeGreaterThan(0);
          stop.abort();
        }
      };
      await expect(reading()).rejects.toMatchObject({ kind: 'cancelled' });
      for await (const chunk of streamBytes(repository, volume, 0, {})) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
    });
  });
});

/** A disk that forgets: what is read back is not what was written. */
class ForgetfulDouble implements VolumeTarget {
  readonly order = 'any';
  readonly startsAsZeros = true;
  discarded = false;
  readonly #content: Buffer;
  readonly #forget: (content: Buffer) => Buffer;

  constructor(bytes: number, forget: (content: Buffer) => Buffer) {
    this.#content = Buffer.alloc(bytes);
    this.#forget = forget;
  }

  write(position: number, bytes: Uint8Array): Promise<void> {
    this.#content.set(bytes, position);
    return Promise.resolve();
  }

  async *readBack(): AsyncGenerator<Uint8Array> {
    const content = this.#forget(Buffer.from(this.#content));
    for (let at = 0; at < content.length; at += 100_000) yield content.subarray(at, at + 100_000);
  }

  writeZeros = (): Promise<void> => Promise.resolve();
  finish = (): Promise<void> => Promise.resolve();
  close = (): Promise<void> => Promise.resolve();
  discard(): Promise<void> {
    this.discarded = true;
    return Promise.resolve();
  }
}

test('a chain that is read back differently is told of, wherever it differs', async () => {
  await inFolder(async (folder) => {
    const store = await newStore();
    await send(store, folder, fixtureBytes('fs-full'), { time: hour(0) });
    const last = await send(store, folder, fixtureBytes('fs-inc1'), { time: hour(1) });
    const full = fixtureBytes('fs-full').length;
    const bytes = full + fixtureBytes('fs-inc1').length;
    const flip =
      (at: number) =>
      (content: Buffer): Buffer => {
        content[at] = (content[at] ?? 0) ^ 1;
        return content;
      };
    const verify = (forget: (content: Buffer) => Buffer, target = new ForgetfulDouble(bytes, forget)) =>
      withRepository(store, async (repository) => {
        const { snapshotId = '' } = last;
        const volume = await VolumeReader.open(
          repository,
          snapshotId,
          await repository.loadSnapshot(snapshotId),
        );
        const tally = new Tally(bytes);
        await restoreChain(repository, volume, undefined, 'double', target, true, tally, {});
        return { target, summary: tally.summary(true) };
      });
    expect((await verify((content) => content)).summary.bytesWritten).toBe(bytes);
    const differs = /^verify double: bytes \d+ to \d+ read back differ from what was written/;
    // The first header, a length in it, a block, the second stream's end, and what is not there any more.
    for (const at of [0, 4, 9, full >> 1, bytes - 1]) await expect(verify(flip(at))).rejects.toThrow(differs);
    const target = new ForgetfulDouble(bytes, (content) => content.subarray(0, bytes - 313));
    await expect(verify((content) => content, target)).rejects.toThrow(differs);
    expect(target.discarded).toBe(true);
  });
});
