import { beforeAll, describe, expect, test } from '@jest/globals';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Repository } from '../repository/repository.ts';
import { noise } from '../repository/testing/bytes.ts';
import { encodeTree, fileNode, folderNode, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import { MemoryStore } from '../store/memory.ts';
import { SEGMENT_BYTES } from './layout.ts';
import { inFolder, newRepository, restoreTo } from './testing/volumes.ts';

const CONTENT = noise('content', 5000);

const RECORD = {
  schema: 1,
  volume: { namespace: 'shop', name: 'database' },
  format: 'image',
  driver: 'file',
  bytes: CONTENT.length,
};

let repository: Repository;
let blob: Id;
beforeAll(async () => {
  repository = await newRepository(new MemoryStore());
  blob = await repository.saveBlob('data', CONTENT);
});

async function folder(name: string, nodes: readonly TreeNode[]): Promise<TreeNode> {
  return folderNode(name, await repository.saveBlob('tree', encodeTree(nodes)));
}

function data(name = 'data', bytes = CONTENT.length, content = [blob]): TreeNode {
  return fileNode(name, bytes, content);
}

/** A snapshot with this volume.json and these other nodes, as a faulty or hostile program with the key might write it. */
async function snapshotOf(record: unknown, others: readonly TreeNode[]): Promise<{ snapshotId: Id }> {
  const json = Buffer.from(typeof record === 'string' ? record : JSON.stringify(record));
  const file = fileNode('volume.json', json.length, [await repository.saveBlob('data', json)]);
  const tree = await repository.saveBlob('tree', encodeTree([file, ...others]));
  return {
    snapshotId: await repository.saveSnapshot({ time: new Date().toISOString(), tree, paths: ['/a/b'] }),
  };
}

/** Restores and expects a refusal that leaves no file. */
async function expectRefused(snapshot: { snapshotId: Id }, cause: RegExp): Promise<void> {
  await inFolder(async (place) => {
    const target = join(place, 'target');
    await expect(restoreTo(repository, snapshot, target)).rejects.toThrow(cause);
    await expect(stat(target)).rejects.toMatchObject({ code: 'ENOENT' });
  });
}

describe('volume.json', () => {
  test.each([
    ['is no JSON', '{"schema":1', /volume\.json of snapshot \w+: .*JSON/],
    ['is null', 'null', /a field is missing or of the wrong kind/],
    ['is a list', '[1]', /a field is missing or of the wrong kind/],
    ['has no schema', { ...RECORD, schema: undefined }, /a field is missing/],
    ['has another format', { ...RECORD, format: 'files' }, /a field is missing/],
    ['has a negative size', { ...RECORD, bytes: -1 }, /a field is missing/],
    ['has a size that is no whole number', { ...RECORD, bytes: 1.5 }, /a field is missing/],
    ['has no volume', { ...RECORD, volume: null }, /a field is missing/],
    ['has a volume without a name', { ...RECORD, volume: { namespace: 'a' } }, /a field is missing/],
    [
      'F-37 has a schema of the future',
      { ...RECORD, schema: 2 },
      /its schema is 2, this program knows 1 \(use a newer/,
    ],
  ])('that %s is refused', async (_, record, cause) => {
    await expectRefused(await snapshotOf(record, [await folder('image', [])]), cause);
  });

  test('that is missing means that the snapshot is of something else', async () => {
    const tree = await repository.saveBlob('tree', encodeTree([data('a-file')]));
    const snapshotId = await repository.saveSnapshot({
      time: new Date().toISOString(),
      tree,
      paths: ['/home'],
    });
    await expectRefused({ snapshotId }, /it has no volume\.json: it is not a backup of a volume/);
  });

  test('may have fields that nobody knows yet', async () => {
    const image = await folder('image', [await folder('000000', [data()])]);
    const snapshot = await snapshotOf({ ...RECORD, later: { a: 1 } }, [image]);
    await inFolder(async (place) => {
      const restored = await restoreTo(repository, snapshot, join(place, 'target'), { verify: true });
      expect(restored.bytesRestored).toBe(CONTENT.length);
    });
  });
});

describe('F-33 F-36 an image', () => {
  test.each([
    ['lacks its folder', async () => [], /it has no folder image/],
    [
      'lacks a segment',
      async () => [await folder('image', [await folder('000001', [data()])])],
      /it lacks segment 000000/,
    ],
    [
      'has a segment under another name',
      async () => [await folder('image', [await folder('0', [data()])])],
      /it lacks segment 000000/,
    ],
    [
      'has more segments than bytes',
      async () => {
        const segment = await folder('000000', [data()]);
        return [await folder('image', [segment, await folder('000001', [data()])])];
      },
      /000001 has 5000 bytes, volume\.json leaves 0 for it/,
    ],
    [
      'has a segment without data',
      async () => [await folder('image', [await folder('000000', [data('date')])])],
      /folder 000000 has no file data/,
    ],
    [
      'has a segment that is a file',
      async () => [await folder('image', [data('000000')])],
      /000000 is not a folder/,
    ],
    [
      'has a segment of another size than volume.json says',
      async () => [await folder('image', [await folder('000000', [data('data', 4000)])])],
      /000000 has 4000 bytes, volume\.json leaves 5000 for it/,
    ],
    [
      'has blobs of another size than its file',
      async () => [await folder('image', [await folder('000000', [data('data', 5000, [blob, blob])])])],
      /its blobs have 10000 bytes, the file 5000/,
    ],
    [
      'has a blob that nobody has',
      async () => [await folder('image', [await folder('000000', [data('data', 5000, ['ab'.repeat(32)])])])],
      /blob abababababab is in no pack that the index names/,
    ],
  ])('that %s is refused before a byte goes to the wrong place', async (_, nodes, cause) => {
    await expectRefused(await snapshotOf(RECORD, await nodes()), cause);
  });

  test('whose first segment is short is refused', async () => {
    const segments = [await folder('000000', [data()]), await folder('000001', [data()])];
    const record = { ...RECORD, bytes: SEGMENT_BYTES + CONTENT.length };
    await expectRefused(await snapshotOf(record, [await folder('image', segments)]), /000000 has 5000 bytes/);
  });
});

test('a stream that is longer than volume.json says is refused', async () => {
  const streams = await folder('streams', [
    await folder('0000-a', [data('send')]),
    await folder('0001-b', [data('send')]),
  ]);
  const record = { ...RECORD, format: 'stream', bytes: 7000 };
  await expectRefused(await snapshotOf(record, [streams]), /0001-b has 5000 bytes, volume\.json leaves 2000/);
});
