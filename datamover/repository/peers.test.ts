import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import type { Peer } from '../../e2e/servers/peers.ts';
import { scratchDirectory } from '../../e2e/servers/scratch.ts';
import { run, start } from '../process/spawn.ts';
import { LocalStore } from '../store/local/store.ts';
import { chunkLengths } from './chunker-plain.ts';
import { sha256, toBytes } from './id.ts';
import { encodeIndexFile } from './index-file.ts';
import { addKey } from './keys.ts';
import { parsePolynomial } from './polynomial.ts';
import { Repository } from './repository.ts';
import { decodeTree, encodeTree, fileNode, folderNode } from './tree.ts';
import type { Compression, Id } from './types.ts';

const PASSWORD = 'one for all';
const MIB = 1024 * 1024;

/** Three blobs that differ in kind: noise (stored plain), text (compressed), zeros. */
const IMAGE = Buffer.concat([
  randomBytes(MIB),
  Buffer.alloc(MIB, 'some text that repeats '),
  Buffer.alloc(MIB),
]);

let scratch: string;
beforeAll(async () => {
  scratch = await scratchDirectory('peers');
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

type Tool = (place: string, args: readonly string[], password?: string) => Promise<string>;

/** Runs restic or rustic on a repository; fails with what the program said. */
function tool(peer: Peer): Tool {
  const isRustic = peer.name === 'rustic';
  return async (place, args, password = PASSWORD) => {
    const { stdout } = await run({
      file: peer.file,
      args: isRustic ? args : ['--no-cache', ...args],
      env: isRustic
        ? { RUSTIC_REPOSITORY: place, RUSTIC_PASSWORD: password, RUSTIC_NO_CACHE: 'true', HOME: scratch }
        : { RESTIC_REPOSITORY: place, RESTIC_PASSWORD: password },
    });
    return stdout;
  };
}

async function open(place: string, password = PASSWORD): Promise<Repository> {
  const repository = await Repository.open(new LocalStore(place), password);
  await repository.loadIndex();
  return repository;
}

/** A repository of ours with one volume in it, laid out as backups lay it out. */
async function ours(name: string, compression: Compression = 'auto', version: 1 | 2 = 2): Promise<string> {
  const place = join(scratch, name);
  const repository = await Repository.init(new LocalStore(place), PASSWORD, {
    compression,
    version,
    kdf: { N: 1024, r: 8, p: 1 },
  });
  await repository.lock('shared');
  await repository.loadIndex();
  const content: Id[] = [];
  for (let at = 0; at < IMAGE.length; at += MIB)
    content.push(await repository.saveBlob('data', IMAGE.subarray(at, at + MIB)));
  const segment = await repository.saveBlob('tree', encodeTree([fileNode('data', IMAGE.length, content)]));
  const image = await repository.saveBlob('tree', encodeTree([folderNode('000000', segment)]));
  const record = Buffer.from('{"schema":1}\n');
  const root = [
    folderNode('image', image),
    fileNode('volume.json', record.length, [await repository.saveBlob('data', record)]),
  ];
  await repository.saveSnapshot({
    time: new Date().toISOString(),
    tree: await repository.saveBlob('tree', encodeTree(root)),
    paths: ['/ns/pvc'],
    hostname: 'cluster',
    username: 'root',
    uid: 0,
    gid: 0,
    tags: ['volume=ns/pvc', 'driver=file', 'format=image'],
    program_version: 'datamover 0.1.0',
  });
  await repository.close();
  return place;
}

/** Every file below a tree, by its path. */
async function readTree(repository: Repository, tree: Id, path = ''): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const node of decodeTree(await repository.loadBlob('tree', tree), `tree of ${path}`)) {
    const name = `${path}/${node.name}`;
    if (node.subtree !== undefined) {
      for (const [below, bytes] of await readTree(repository, node.subtree, name)) files.set(below, bytes);
    } else if (node.content !== undefined) {
      const parts: Uint8Array[] = [];
      for (const id of node.content) parts.push(await repository.loadBlob('data', id));
      files.set(name, Buffer.concat(parts));
    }
  }
  return files;
}

async function snapshotsOf(
  repository: Repository,
): Promise<{ id: Id; tree: Id; tags: readonly string[]; original: Id | undefined }[]> {
  const found = [];
  for await (const { id, snapshot } of repository.snapshots()) {
    found.push({ id, tree: snapshot.tree, tags: snapshot.tags ?? [], original: snapshot.original });
  }
  return found;
}

/** Every entry of every index file agrees with the headers of the packs. */
async function indexMatchesPacks(repository: Repository): Promise<number> {
  let blobs = 0;
  for await (const { file } of repository.indexFiles()) {
    for (const pack of file.packs) {
      const { size } = await repository.store.stat({ type: 'data', name: pack.id });
      const header = await repository.loadPackHeader(pack.id, size);
      expect([...pack.blobs].sort((a, b) => a.offset - b.offset)).toEqual(header);
      blobs += header.length;
    }
  }
  return blobs;
}

describe.each(['restic-debian', 'restic-current'] as const)('%s', (name) => {
  describePeer(name, 'and we', (peer) => {
    const restic = tool(peer);

    test.each<[string, Compression, 1 | 2]>([
      ['auto', 'auto', 2],
      ['off', 'off', 2],
      ['version 1', 'auto', 1],
    ])('F-40 it checks, lists and dumps what we write (%s)', async (label, compression, version) => {
      const place = await ours(`${name}-${label}`, compression, version);
      await restic(place, ['check', '--read-data']);
      const listed = await restic(place, ['ls', 'latest']);
      expect(listed.split('\n').filter((line) => line.startsWith('/'))).toEqual([
        '/image',
        '/image/000000',
        '/image/000000/data',
        '/volume.json',
      ]);
      const target = join(scratch, `${name}-${label}-restored`);
      await restic(place, ['restore', 'latest', '--target', target]);
      expect(IMAGE.equals(await readFile(join(target, 'image/000000/data')))).toBe(true);
      await rm(target, { recursive: true });
    });

    test('F-40 we read it after it tagged, pruned and repacked everything; nothing is lost of the snapshot', async () => {
      const place = await ours(`${name}-maintained`);
      const [before] = await snapshotsOf(await open(place));
      await restic(place, ['tag', '--add', 'kept', 'latest']);
      await restic(
        place,
        ['prune', '--max-unused', '0', '--repack-small'].slice(0, name === 'restic-debian' ? 3 : 4),
      );
      if (name === 'restic-current')
        await restic(place, ['rewrite', '--forget', '--new-host', 'other', 'latest']);
      await restic(place, ['check', '--read-data']);
      const repository = await open(place);
      const [after, ...others] = await snapshotsOf(repository);
      expect(others).toEqual([]);
      expect(after?.tree).toBe(before?.tree);
      // Its `rewrite` names the snapshot that it rewrote, its `tag` the first of the line.
      if (name === 'restic-debian') expect(after?.original).toBe(before?.id);
      else expect(after?.original).toHaveLength(64);
      expect(after?.tags).toContain('kept');
      expect(
        IMAGE.equals(
          (await readTree(repository, after?.tree ?? '')).get('/image/000000/data') ?? Buffer.alloc(0),
        ),
      ).toBe(true);
    });

    test.each([
      ['version 1', ['init', '--repository-version', '1'], []],
      ['off', ['init'], ['--compression', 'off']],
      ['auto', ['init'], ['--compression', 'auto']],
      ['max', ['init'], ['--compression', 'max']],
    ])(
      'F-31 F-41 we read what it writes (%s), every byte, and cut it alike',
      async (label, init, options) => {
        const place = join(scratch, `${name}-theirs-${label}`);
        const source = join(scratch, `${name}-source`);
        await mkdir(join(source, 'folder'), { recursive: true });
        const stream = Buffer.concat([IMAGE, randomBytes(6 * MIB), Buffer.alloc(3 * MIB), IMAGE]);
        await writeFile(join(source, 'folder', 'stream'), stream);
        await writeFile(join(source, 'empty'), '');
        await writeFile(join(source, 'quo"te \\ ü'), 'small');
        await restic(place, [...init]);
        await restic(place, ['backup', ...options, source]);
        const repository = await open(place);
        const [snapshot] = await snapshotsOf(repository);
        const files = await readTree(repository, snapshot?.tree ?? '');
        expect([...files.keys()]).toEqual(
          ['empty', 'folder/stream', 'quo"te \\ ü'].map((file) => join(source, file)),
        );
        expect(stream.equals(files.get(join(source, 'folder/stream')) ?? Buffer.alloc(0))).toBe(true);
        expect(await indexMatchesPacks(repository)).toBe(repository.index.blobCount);
        const polynomial = parsePolynomial(repository.config.chunker_polynomial);
        if (polynomial === undefined) throw new Error('restic chose a polynomial that is none');
        let at = 0;
        for (const length of chunkLengths(stream, polynomial)) {
          const id = sha256(stream.subarray(at, at + length));
          expect(repository.index.isLive('data', toBytes(id))).toBe(true);
          at += length;
        }
      },
    );

    test('F-41 each opens with the keys that the other adds', async () => {
      const place = await ours(`${name}-keys`);
      const repository = await open(place);
      await addKey(repository, 'from us');
      await restic(place, ['check'], 'from us');
      const file = join(scratch, `${name}-password`);
      await writeFile(file, 'from restic\n');
      await restic(place, ['key', 'add', '--new-password-file', file], 'from us');
      expect((await open(place, 'from restic')).key).toEqual(repository.key);
      expect(JSON.parse(await restic(place, ['key', 'list', '--json'], 'from restic'))).toHaveLength(3);
      await rm(file);
    });

    test('F-24 it respects our exclusive and sweep locks', async () => {
      const place = await ours(`${name}-locks`);
      for (const mode of ['exclusive', 'sweep'] as const) {
        const repository = await open(place);
        await repository.lock(mode);
        await expect(restic(place, ['snapshots'])).rejects.toThrow(/already locked|lock was created/);
        await repository.close();
        await restic(place, ['snapshots']);
      }
      const repository = await open(place);
      await repository.lock('shared');
      await restic(place, ['snapshots']);
      await expect(restic(place, ['prune'])).rejects.toThrow(/already locked|lock was created/);
      await repository.close();
    });

    test('F-24 F-28 we respect the lock of a backup that it is making', async () => {
      const place = await ours(`${name}-running`);
      const file = join(scratch, `${name}-fifo`);
      await run({ file: 'mkfifo', args: [file] });
      const holder = await start({
        file: peer.file,
        args: ['--no-cache', '--repo', place, 'backup', '--stdin'],
        env: { RESTIC_PASSWORD: PASSWORD },
        input: (await start({ file: 'cat', args: [file] })).stdout,
      });
      try {
        while ((await readdir(join(place, 'locks'))).length === 0)
          await new Promise((resolve) => setTimeout(resolve, 50));
        const repository = await open(place);
        for (const mode of ['exclusive', 'sweep'] as const) {
          await expect(repository.lock(mode)).rejects.toMatchObject({ kind: 'locked' });
        }
        await repository.lock('shared');
        await repository.close();
      } finally {
        await writeFile(file, 'the end');
        await holder.finished;
      }
    });

    test('F-39 it sees every blob of packs that we have marked', async () => {
      const place = await ours(`${name}-marked`);
      const repository = await open(place);
      await repository.lock('exclusive');
      for await (const { id, file } of repository.indexFiles()) {
        const packsToDelete = file.packs.map((pack) => ({ ...pack, time: new Date().toISOString() }));
        await repository.saveFile('index', encodeIndexFile({ ...file, packsToDelete, supersedes: [id] }));
        await repository.removeFile('index', id);
      }
      await repository.close();
      await restic(place, ['check', '--read-data']);
      expect((await restic(place, ['dump', 'latest', '/volume.json'])).trim()).toBe('{"schema":1}');
    });
  });
});

describePeer('rustic', 'rustic and we', (peer) => {
  const rustic = tool(peer);

  test('F-40 it checks, lists and dumps what we write', async () => {
    const place = await ours('rustic-reads');
    await rustic(place, ['check', '--read-data']);
    expect(await rustic(place, ['ls', 'latest'])).toContain('image/000000/data');
    const target = join(scratch, 'rustic-restored');
    await rustic(place, ['restore', 'latest', target]);
    expect(IMAGE.equals(await readFile(join(target, 'image/000000/data')))).toBe(true);
  });

  test('F-20 F-40 we read it after it tagged, pruned and repacked everything', async () => {
    const place = await ours('rustic-maintained');
    await rustic(place, ['tag', '--add', 'kept', 'latest']);
    await rustic(place, [
      'prune',
      '--max-unused',
      '0',
      '--repack-all',
      '--instant-delete',
      '--keep-pack',
      '0s',
    ]);
    const repository = await open(place);
    const [snapshot] = await snapshotsOf(repository);
    expect(snapshot?.tags).toContain('kept');
    expect(
      IMAGE.equals(
        (await readTree(repository, snapshot?.tree ?? '')).get('/image/000000/data') ?? Buffer.alloc(0),
      ),
    ).toBe(true);
    await indexMatchesPacks(repository);
  });

  test('F-15 F-41 we read what it writes, and take its marks for marks', async () => {
    const place = join(scratch, 'rustic-theirs');
    const source = join(scratch, 'rustic-source');
    await mkdir(source, { recursive: true });
    await writeFile(join(source, 'a'), IMAGE);
    await rustic(place, ['init']);
    await rustic(place, ['backup', source]);
    const before = await open(place);
    const [snapshot] = await snapshotsOf(before);
    expect(
      IMAGE.equals((await readTree(before, snapshot?.tree ?? '')).get(join(source, 'a')) ?? Buffer.alloc(0)),
    ).toBe(true);
    await indexMatchesPacks(before);
    await rustic(place, ['forget', snapshot?.id ?? '']);
    await rustic(place, ['prune', '--keep-pack', '0s']);
    const after = await open(place);
    const id = toBytes(snapshot?.tree ?? '');
    expect(after.index.isLive('tree', id)).toBe(false);
    expect(after.index.lookup('tree', id)).toEqual(before.index.lookup('tree', id));
  });
});
