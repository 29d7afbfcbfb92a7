import { createHash, randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startCeph, type CephCluster } from '../../../e2e/servers/ceph.ts';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { run } from '../../process/spawn.ts';
import type { RbdConnection } from './command.ts';
import type { ExportJob, PinnedSnap } from './export-job.ts';
import { identify, listSnaps } from './image.ts';
import { formatImageName, parseImageName, type ImageName } from './image-name.ts';
import { encode } from './testing/diffs.ts';
import { Librbd } from './testing/librbd.ts';
import { readJob } from './testing/read-job.ts';
import { Twin } from './testing/twin.ts';

const MIB = 1 << 20;

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describePeer('ceph', 'images of a real cluster', () => {
  let ceph: CephCluster;
  let client: Librbd;
  let folder: string;
  let admin: RbdConnection;

  beforeAll(async () => {
    ceph = await startCeph();
    client = new Librbd(ceph);
    folder = await mkdtemp(join(tmpdir(), 'datamover-rbd-'));
    admin = { conf: ceph.environment.CEPH_CONF };
  });

  afterAll(async () => {
    client.close();
    await ceph.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const rbd = (...args: string[]) => run({ file: 'rbd', args, env: ceph.environment });

  async function create(...options: string[]): Promise<ImageName> {
    const name = { pool: ceph.pool, image: `delta-${randomUUID()}` };
    await rbd('create', '--size', '8M', '--object-size', '1M', ...options, `${name.pool}/${name.image}`);
    return name;
  }

  /** The snap of an image as it is now. */
  async function pin(name: ImageName, snap: string, connection = admin): Promise<PinnedSnap> {
    const [{ id }, snaps] = await Promise.all([identify(connection, name), listSnaps(connection, name)]);
    const snapId = snaps.find((entry) => entry.kind === 'user' && entry.name === snap)?.id ?? -1;
    return { name: { ...name, snap }, imageId: id, snapId };
  }

  async function full(name: ImageName, snap: string, connection = admin): Promise<ExportJob> {
    return { connection, source: await pin(name, snap, connection), reading: { kind: 'allocated' } };
  }

  async function everything(name: ImageName, snap: string, bytes: number): Promise<ExportJob> {
    return { ...(await full(name, snap)), reading: { kind: 'everything', bytes } };
  }

  async function delta(name: ImageName, from: string, snap: string): Promise<ExportJob> {
    const base = await pin(name, from);
    return { connection: admin, source: await pin(name, snap), reading: { kind: 'changes', base } };
  }

  /** Snaps `small` (4 MiB), `large` (6 MiB) and `cut` (3 MiB) of one image, each with changes; gives what each contains. */
  async function history(): Promise<{ name: ImageName; contents: Record<string, Buffer> }> {
    const name = await create();
    const image = client.open(name.image);
    image.resize(4 * MIB);
    image.write(MIB - 7, Buffer.alloc(MIB, 1));
    image.snap('small');
    image.resize(6 * MIB);
    image.write(5 * MIB, Buffer.alloc(MIB, 2));
    image.discard(MIB, 4096);
    image.snap('large');
    image.resize(2 * MIB);
    image.resize(3 * MIB);
    image.write(0, Buffer.from('begin'));
    image.snap('cut');
    image.close();
    const content = (snap: string): Buffer => client.read(name.image, snap);
    return { name, contents: { small: content('small'), large: content('large'), cut: content('cut') } };
  }

  test('identify says what an image is', async () => {
    const dataPool = `data-${randomUUID()}`;
    await run({ file: 'ceph', args: ['osd', 'pool', 'create', dataPool, '1', '1'], env: ceph.environment });
    const name = await create('--stripe-unit', '65536', '--stripe-count', '4', '--data-pool', dataPool);
    const image = await identify(admin, name);
    expect(image).toMatchObject({
      bytes: 8 * MIB,
      objectBytes: MIB,
      stripeUnit: 65_536,
      stripeCount: 4,
      flags: [],
    });
    expect(image.features).toEqual(
      expect.arrayContaining(['layering', 'object-map', 'fast-diff', 'data-pool']),
    );
    expect(image.dataPool).toBe(dataPool);
    expect(image.id).toMatch(/^[0-9a-f]+$/);
    expect(image.parent).toBeUndefined();
    await expect(identify(admin, { ...name, image: 'nowhere' })).rejects.toThrow(
      /^look at rbd image rbd\/nowhere: exit status 2: .*\(check that the pool, the image and the snap exist/,
    );
  });

  test('snaps are listed in order, also the ones in the trash that clones hold', async () => {
    const { name } = await history();
    const clone = `delta-${randomUUID()}`;
    const source = `${name.pool}/${name.image}`;
    await rbd('clone', '--rbd-default-clone-format', '2', `${source}@small`, `${ceph.pool}/${clone}`);
    await rbd('snap', 'rm', '--no-progress', `${source}@small`);
    const snaps = await listSnaps(admin, name);
    expect(snaps).toMatchObject([
      { kind: 'trash', originalName: 'small', bytes: 4 * MIB },
      { kind: 'user', name: 'large', bytes: 6 * MIB, protected: false },
      { kind: 'user', name: 'cut', bytes: 3 * MIB },
    ]);
    expect((await identify(admin, { ...name, image: clone })).parent).toMatchObject({
      image: name.image,
      imageId: (await identify(admin, name)).id,
    });
  });

  test('full reads and deltas give the content of each snap, through growth and shrinking', async () => {
    const { name, contents } = await history();
    for (const snap of ['small', 'large', 'cut']) {
      for (const job of [await full(name, snap), await everything(name, snap, contents[snap]?.length ?? 0)]) {
        const twin = new Twin();
        await readJob(job, twin);
        expect(twin.header).toMatchObject({ toSnap: snap, bytes: contents[snap]?.length });
        expect(sha256(twin.bytes)).toBe(sha256(contents[snap] ?? Buffer.of()));
      }
    }
    for (const [base, snap] of [
      ['small', 'large'],
      ['large', 'cut'],
      ['small', 'cut'],
    ] as const) {
      const twin = new Twin();
      twin.bytes = Buffer.from(contents[base] ?? '');
      await readJob(await delta(name, base, snap), twin);
      expect(twin.header).toMatchObject({ fromSnap: base, toSnap: snap });
      expect(sha256(twin.bytes)).toBe(sha256(contents[snap] ?? Buffer.of()));
    }
  });

  test('a base that vanished is a failure, and so is one that is not older', async () => {
    const { name } = await history();
    const job = await delta(name, 'small', 'cut');
    await rbd('snap', 'rm', '--no-progress', `${name.pool}/${name.image}@small`);
    const twin = new Twin();
    await expect(readJob(job, twin)).rejects.toThrow(
      /read rbd image rbd\/delta-.*@cut: exit status 2: .*rbd snap ls lists them/,
    );
    expect(twin.ended).toBe(false);
    await expect(readJob(await delta(name, 'cut', 'large'), new Twin())).rejects.toThrow(/exit status/);
  });

  test('a snap or an image that was made anew under its name is not taken for the old one', async () => {
    const { name } = await history();
    const [whole, change] = [await full(name, 'cut'), await delta(name, 'small', 'cut')];
    const source = `${name.pool}/${name.image}`;
    for (const snap of ['small', 'cut']) {
      await rbd('snap', 'rm', '--no-progress', `${source}@${snap}`);
      await rbd('snap', 'create', '--no-progress', `${source}@${snap}`);
    }
    const anew = /the snap was deleted and made anew \(its id was \d+, now it is \d+\)/;
    await expect(readJob(whole, new Twin())).rejects.toThrow(anew);
    await expect(readJob({ ...change, source: await pin(name, 'cut') }, new Twin())).rejects.toThrow(anew);
    await rbd('snap', 'purge', '--no-progress', source);
    await rbd('rm', '--no-progress', source);
    await rbd('create', '--size', '1M', source);
    await rbd('snap', 'create', '--no-progress', `${source}@cut`);
    await expect(readJob(whole, new Twin())).rejects.toThrow(/the image was deleted and made anew/);
  });

  test('a snap that goes while it is read makes the read fail', async () => {
    const { name } = await history();
    const job = await full(name, 'large');
    let removed = false;
    const drained = async (): Promise<void> => {
      if (removed) return;
      removed = true;
      await rbd('snap', 'rm', '--no-progress', `${name.pool}/${name.image}@large`);
    };
    await expect(readJob(job, new Twin(), { drained })).rejects.toThrow(
      /the snap was deleted while it was read|exit status/,
    );
    expect(removed).toBe(true);
  });

  test('a user who may only read, with a key in a file, suffices; without rights the reason is told', async () => {
    const { name, contents } = await history();
    const reader = join(folder, 'reader.keyring');
    const stranger = join(folder, 'stranger.keyring');
    const rights = ['mon', 'profile rbd-read-only', 'osd', `profile rbd-read-only pool=${ceph.pool}`];
    const authorize = (user: string, file: string, ...caps: string[]) =>
      run({
        file: 'ceph',
        args: ['auth', 'get-or-create', user, ...caps, '-o', file],
        env: ceph.environment,
      });
    await authorize('client.reader', reader, ...rights);
    await authorize('client.stranger', stranger, 'mon', 'allow r');
    const key = /key = (\S+)/.exec(await readFile(reader, 'utf8'))?.[1] ?? '';
    expect(key).not.toBe('');

    const connection = { ...admin, user: 'reader', keyring: reader };
    const twin = new Twin();
    await readJob(await full(name, 'small', connection), twin);
    expect(sha256(twin.bytes)).toBe(sha256(contents['small'] ?? Buffer.of()));
    await expect(identify({ ...admin, user: 'stranger', keyring: stranger }, name)).rejects.toThrow(
      /exit status 1: .*Operation not permitted.*\(check the capabilities of the cephx user/,
    );
    const wrong = { ...admin, user: 'stranger', keyring: reader };
    await expect(identify(wrong, name)).rejects.toThrow(
      /check the monitors in ceph.conf, the cephx user and its/,
    );
    const nobody = join(folder, 'nobody.conf');
    await writeFile(nobody, '[global]\nmon host = 127.0.0.1:1\nauth client required = none\n');
    await expect(identify({ conf: nobody, patience: 1 }, name)).rejects.toThrow(
      /check the monitors in ceph.conf/,
    );
    await expect(identify({ ...admin, keyring: '--help' }, name)).rejects.toThrow(/the keyring "--help" has/);
    await expect(identify({ ...admin, user: 'a b' }, name)).rejects.toThrow(/the cephx user "a b" has/);
  });

  test('every character that a name may have reaches rbd as it is, also with a namespace', async () => {
    const namespace = `n-${randomUUID()}`;
    const name = { pool: ceph.pool, namespace, image: '.a_b-c:d+e', snap: '2026-11-20T13:00:00+01:00' };
    await rbd('namespace', 'create', `${ceph.pool}/${namespace}`);
    const options = ['--pool', name.pool, '--namespace', namespace, '--image', name.image];
    await rbd('create', '--size', '1M', ...options);
    await rbd('snap', 'create', '--no-progress', '--snap', name.snap, ...options);
    expect(parseImageName(formatImageName(name))).toEqual(name);
    expect((await identify(admin, name)).bytes).toBe(MIB);
    const twin = new Twin();
    await readJob(await full(name, name.snap), twin);
    expect(twin.header).toMatchObject({ toSnap: name.snap, bytes: MIB });
  });

  test('a stop ends the reading', async () => {
    const { name } = await history();
    const stopper = new AbortController();
    const drained = async (): Promise<void> => stopper.abort();
    const reading = readJob(await full(name, 'large'), new Twin(), { drained, signal: stopper.signal });
    await expect(reading).rejects.toMatchObject({
      kind: 'cancelled',
    });
  });
});

/** No rbd can be made to fail at a given byte, so a script stands in for one. */
describe('a delta counts only with its end record and a good exit', () => {
  let folder: string;
  const source = { name: { pool: 'p', image: 'i', snap: 's' }, imageId: 'abc', snapId: 4 };
  const read = (connection: RbdConnection, twin = new Twin()): Promise<void> =>
    readJob({ connection, source, reading: { kind: 'allocated' } }, twin);
  const { stream } = encode({
    header: { version: 1, toSnap: 's', bytes: 9 },
    extents: [{ offset: 2, length: 3, data: Buffer.from('abc') }],
  });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'datamover-rbd-'));
    await writeFile(join(folder, 'stream'), stream);
    await listed({ id: 4, name: 's', size: 9, protected: 'false' });
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const listed = (...snaps: object[]) => writeFile(join(folder, 'snaps'), JSON.stringify(snaps));

  async function program(...lines: string[]): Promise<RbdConnection> {
    const path = join(folder, `rbd-${randomUUID()}`);
    const info = '{"id":"abc","size":9,"object_size":4096,"features":[],"flags":[]}';
    const list = `case $1 in snap) cat snaps; exit;; info) echo '${info}'; exit;; esac`;
    await writeFile(path, `#!/bin/sh\ncd '${folder}'\n${list}\n${lines.join('\n')}\n`);
    await chmod(path, 0o755);
    return { program: path };
  }

  test('both', async () => {
    const twin = new Twin();
    await read(await program('cat stream'), twin);
    expect(twin.bytes.toString('latin1')).toBe('\0\0abc\0\0\0\0');
  });

  test.each([
    [
      'the whole stream, then a failure',
      ['cat stream', 'echo broken >&2', 'exit 5'],
      /exit status 5: broken/,
    ],
    ['the whole stream, then a signal', ['cat stream', 'kill -9 $$'], /ended by SIGKILL/],
    ['half of it with a good exit', ['head -c 40 stream'], /the stream ends in it, after 40 bytes/],
    ['half of it and a signal', ['head -c 40 stream', 'kill -9 $$'], /ended by SIGKILL/],
    ['nothing with a good exit', [], /the stream is empty/],
    ['noise', ['echo Segmentation fault in the client'], /this is no stream of rbd export-diff/],
    ['more than one stream', ['cat stream stream'], /data follows the end of the stream/],
    ['the wrong program', ['exec /nowhere/rbd'], /exit status 127/],
  ])('%s', async (_, lines, sentence) => {
    await expect(read(await program(...lines))).rejects.toThrow(sentence);
  });

  test.each([
    [[{ id: 5, name: 's', size: 9, protected: 'false' }], /made anew \(its id was 4, now it is 5\)/],
    [[], /the snap was deleted while it was read/],
    [[{ id: 'four', name: 's', size: 9, protected: 'false' }], /rbd's answer has no usable "id"/],
  ])('snaps that are others afterwards: %j', async (snaps, sentence) => {
    await listed(...snaps);
    await expect(read(await program('cat stream'))).rejects.toThrow(sentence);
  });

  test('a program that is not there is named', async () => {
    await expect(read({ program: '/nowhere/rbd' })).rejects.toThrow(/rbd is not installed/);
  });

  test('a name that could be an option reaches no program', async () => {
    const connection = { program: '/nowhere/rbd' };
    const bad = { ...source, name: { ...source.name, image: '--help' } };
    const reading = { kind: 'allocated' } as const;
    await expect(readJob({ connection, source: bad, reading }, new Twin())).rejects.toThrow(
      /its image is "--help"/,
    );
    const base = { ...source, name: { ...source.name, snap: '-x' } };
    const changes = { kind: 'changes', base } as const;
    await expect(readJob({ connection, source, reading: changes }, new Twin())).rejects.toThrow(
      /its snap is "-x"/,
    );
  });
});
