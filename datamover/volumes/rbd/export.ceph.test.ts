import { createHash, randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startCeph, type CephCluster } from '../../../e2e/servers/ceph.ts';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { run } from '../../process/spawn.ts';
import type { RbdConnection } from './command.ts';
import { formatImageName, parseImageName, type ImageName } from './image-name.ts';
import type { PinnedSnap, ReadJob } from './read-job.ts';
import { encode } from './testing/diffs.ts';
import { Librbd } from './testing/librbd.ts';
import { lookAt } from './testing/look.ts';
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
  /** Who may only read, and so cannot hold what is read. */
  let reader: RbdConnection;

  beforeAll(async () => {
    ceph = await startCeph();
    client = new Librbd(ceph);
    folder = await mkdtemp(join(tmpdir(), 'datamover-rbd-'));
    admin = { conf: ceph.environment.CEPH_CONF };
    const rights = ['mon', 'profile rbd-read-only', 'osd', `profile rbd-read-only pool=${ceph.pool}`];
    const user = `reader-${randomUUID()}`;
    reader = { ...admin, user, keyring: await authorize(user, ...rights) };
  });

  afterAll(async () => {
    client.close();
    await ceph.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const rbd = (...args: string[]) => run({ file: 'rbd', args, env: ceph.environment });

  /** Makes a user; gives the file with its key. */
  async function authorize(user: string, ...caps: string[]): Promise<string> {
    const file = join(folder, `${user}.keyring`);
    const args = ['auth', 'get-or-create', `client.${user}`, ...caps, '-o', file];
    await run({ file: 'ceph', args, env: ceph.environment });
    return file;
  }

  async function create(...options: string[]): Promise<ImageName> {
    const name = { pool: ceph.pool, image: `delta-${randomUUID()}` };
    await rbd('create', '--size', '8M', '--object-size', '1M', ...options, `${name.pool}/${name.image}`);
    return name;
  }

  /** The snap of an image as it is now. */
  async function pin(
    name: ImageName,
    snap: string,
    connection = admin,
  ): Promise<{ readonly source: PinnedSnap; readonly bytes: number }> {
    const { image, snaps } = await lookAt(connection, name);
    const found = snaps.find((entry) => entry.kind === 'user' && entry.name === snap);
    const source = { name: { ...name, snap }, imageId: image.id, snapId: found?.id ?? -1 };
    return { source, bytes: found?.bytes ?? 0 };
  }

  async function full(name: ImageName, snap: string, connection = admin): Promise<ReadJob> {
    return { ...(await pin(name, snap, connection)), reading: { kind: 'allocated' } };
  }

  async function everything(name: ImageName, snap: string): Promise<ReadJob> {
    return { ...(await pin(name, snap)), reading: { kind: 'everything' } };
  }

  async function delta(name: ImageName, from: string, snap: string): Promise<ReadJob> {
    const [{ source: base }, to] = await Promise.all([pin(name, from), pin(name, snap)]);
    const { objectBytes } = (await lookAt(admin, name)).image;
    const image = { name, imageId: base.imageId, objectBytes, clone: false };
    const moments = { from: base.snapId, to: to.source.snapId };
    const rest = { held: [base], clones: [], overlap: to.bytes };
    return { ...to, reading: { kind: 'changes', by: 'snap-name', base, image, ...moments, ...rest } };
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
    const image = (await lookAt(admin, name)).image;
    expect(image).toMatchObject({
      bytes: 8 * MIB,
      objectBytes: MIB,
      stripeUnit: 65_536,
      stripeCount: 4,
    });
    expect(image.features).toEqual(
      expect.arrayContaining(['layering', 'object-map', 'fast-diff', 'data-pool']),
    );
    expect(image.dataPool).toBe(dataPool);
    expect(image.id).toMatch(/^[0-9a-f]+$/);
    expect(image.parent).toBeUndefined();
    await expect(lookAt(admin, { ...name, image: 'nowhere' })).rejects.toThrow(
      /^look at rbd image rbd\/nowhere: opening image nowhere: no such file or directory \(errno 2\) \(check that the pool, the image and the snap exist/,
    );
  });

  test('snaps are listed in order, also the ones in the trash that clones hold', async () => {
    const { name } = await history();
    const clone = `delta-${randomUUID()}`;
    const source = `${name.pool}/${name.image}`;
    await rbd('clone', '--rbd-default-clone-format', '2', `${source}@small`, `${ceph.pool}/${clone}`);
    await rbd('snap', 'rm', '--no-progress', `${source}@small`);
    const { snaps } = await lookAt(admin, name);
    expect(snaps).toMatchObject([
      { kind: 'trash', originalName: 'small', bytes: 4 * MIB },
      { kind: 'user', name: 'large', bytes: 6 * MIB },
      { kind: 'user', name: 'cut', bytes: 3 * MIB },
    ]);
    const [shown, { image }] = await Promise.all([
      lookAt(admin, { ...name, image: clone }),
      lookAt(admin, name),
    ]);
    expect(shown.image.parent).toEqual({
      ...{ pool: name.pool, image: name.image, imageId: image.id },
      ...{ snapId: snaps[0]?.id, overlap: 4 * MIB },
    });
    // By its id, as one that was renamed or lies in the trash.
    expect(await lookAt(admin, { ...name, image: 'another', imageId: image.id })).toEqual(
      await lookAt(admin, name),
    );
  });

  test('full reads and deltas give the content of each snap, through growth and shrinking', async () => {
    const { name, contents } = await history();
    for (const snap of ['small', 'large', 'cut']) {
      for (const job of [await full(name, snap), await everything(name, snap)]) {
        const twin = new Twin();
        await readJob(admin, job, twin);
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
      await readJob(admin, await delta(name, base, snap), twin);
      expect(twin.header).toMatchObject({ fromSnap: base, toSnap: snap });
      expect(sha256(twin.bytes)).toBe(sha256(contents[snap] ?? Buffer.of()));
    }
  });

  test('a base that vanished is a failure, and so is one that is not older', async () => {
    const { name } = await history();
    const job = await delta(name, 'small', 'cut');
    await rbd('snap', 'rm', '--no-progress', `${name.pool}/${name.image}@small`);
    const gone = /rbd image rbd\/delta-.*@cut: .*no such file.* \(errno 2\) \(check .*rbd snap ls lists them/;
    for (const connection of [admin, reader]) {
      const twin = new Twin();
      await expect(readJob(connection, job, twin)).rejects.toThrow(gone);
      expect(twin.ended).toBe(false);
    }
    await expect(readJob(admin, await delta(name, 'cut', 'large'), new Twin())).rejects.toThrow(/errno 22/);
  });

  test('a snap or an image that was made anew under its name is not taken for the old one', async () => {
    const { name } = await history();
    const [whole, change] = [await full(name, 'cut'), await delta(name, 'small', 'cut')];
    const source = `${name.pool}/${name.image}`;
    for (const snap of ['small', 'cut']) {
      await rbd('snap', 'rm', '--no-progress', `${source}@${snap}`);
      await rbd('snap', 'create', '--no-progress', `${source}@${snap}`);
    }
    for (const job of [whole, change])
      await expect(readJob(admin, job, new Twin())).rejects.toThrow(/opening snap \d+: no such file/);
    const now = await pin(name, 'cut');
    const reading = { ...change.reading, to: now.source.snapId } as ReadJob['reading'];
    await expect(readJob(admin, { ...now, reading }, new Twin())).rejects.toThrow(
      /the snap was deleted and made anew \(its id was \d+, now it is \d+\)|which tells what changed, went/,
    );
    await rbd('snap', 'purge', '--no-progress', source);
    await rbd('rm', '--no-progress', source);
    await rbd('create', '--size', '1M', source);
    await rbd('snap', 'create', '--no-progress', `${source}@cut`);
    await expect(readJob(admin, whole, new Twin())).rejects.toThrow(/no such file/);
  });

  test('a snap that goes while it is read makes the read fail', async () => {
    const name = await create();
    const image = client.open(name.image);
    // More than a pipe holds: the reader has not come to the end when the first part of it is read.
    image.write(0, Buffer.alloc(8 * MIB, 7));
    image.snap('one');
    image.close();
    let removed = false;
    const drained = async (): Promise<void> => {
      if (removed) return;
      removed = true;
      await rbd('snap', 'rm', '--no-progress', `${name.pool}/${name.image}@one`);
    };
    const job = await full(name, 'one');
    await expect(readJob(reader, job, new Twin(), { drained })).rejects.toThrow(
      /the snap was deleted while it was read|exit status/,
    );
    expect(removed).toBe(true);
  });

  test('a user who may only read, with a key in a file, suffices; without rights the reason is told', async () => {
    const { name, contents } = await history();
    const stranger = await authorize(`stranger-${randomUUID()}`, 'mon', 'allow r');
    const user = /client\.(\S+)\]/.exec(await readFile(stranger, 'utf8'))?.[1] ?? '';
    const twin = new Twin();
    await readJob(reader, await full(name, 'small', reader), twin);
    expect(sha256(twin.bytes)).toBe(sha256(contents['small'] ?? Buffer.of()));
    await expect(lookAt({ ...admin, user, keyring: stranger }, name)).rejects.toThrow(
      /^look at rbd image .*operation not permitted \(errno 1\) \(check the capabilities of the cephx user/,
    );
    const wrong = { ...reader, user };
    await expect(lookAt(wrong, name)).rejects.toThrow(
      /check the monitors in ceph.conf, the cephx user and its/,
    );
    const nobody = join(folder, 'nobody.conf');
    await writeFile(nobody, '[global]\nmon host = 127.0.0.1:1\nauth client required = none\n');
    await expect(lookAt({ conf: nobody, patience: 1 }, name)).rejects.toThrow(
      /check the monitors in ceph.conf/,
    );
    await expect(lookAt({ ...admin, keyring: '--help' }, name)).rejects.toThrow(/the keyring "--help" has/);
    await expect(lookAt({ ...admin, user: 'a b' }, name)).rejects.toThrow(/the cephx user "a b" has/);
  });

  test('every character that a name may have reaches rbd as it is, also with a namespace', async () => {
    const namespace = `n-${randomUUID()}`;
    const name = { pool: ceph.pool, namespace, image: '.a_b-c:d+e', snap: '2026-11-20T13:00:00+01:00' };
    await rbd('namespace', 'create', `${ceph.pool}/${namespace}`);
    const options = ['--pool', name.pool, '--namespace', namespace, '--image', name.image];
    await rbd('create', '--size', '1M', ...options);
    await rbd('snap', 'create', '--no-progress', '--snap', name.snap, ...options);
    expect(parseImageName(formatImageName(name))).toEqual(name);
    expect((await lookAt(admin, name)).image.bytes).toBe(MIB);
    const twin = new Twin();
    await readJob(admin, await full(name, name.snap), twin);
    expect(twin.header).toMatchObject({ toSnap: name.snap, bytes: MIB });
  });

  test('a stop ends the reading', async () => {
    const { name } = await history();
    const stopper = new AbortController();
    const drained = async (): Promise<void> => stopper.abort();
    const reading = readJob(admin, await full(name, 'large'), new Twin(), {
      drained,
      signal: stopper.signal,
    });
    await expect(reading).rejects.toMatchObject({
      kind: 'cancelled',
    });
  });

  /** No rbd can be made to fail at a given byte, so a script stands in for one. */
  describe('a read counts only with its end record and a good exit', () => {
    let job: ReadJob;
    const { stream } = encode({
      header: { version: 1, toSnap: 's', bytes: 9 },
      extents: [{ offset: 2, length: 3, data: Buffer.from('abc') }],
    });

    beforeAll(async () => {
      await writeFile(join(folder, 'stream'), stream);
      const name = await create();
      await rbd('snap', 'create', '--no-progress', `${name.pool}/${name.image}@s`);
      job = await full(name, 's');
    });

    async function read(lines: readonly string[]): Promise<Twin> {
      const program = join(folder, `rbd-${randomUUID()}`);
      await writeFile(program, `#!/bin/sh\ncd '${folder}'\n${lines.join('\n')}\n`);
      await chmod(program, 0o755);
      const twin = new Twin();
      await readJob({ ...admin, program }, job, twin);
      return twin;
    }

    test('both', async () => {
      const twin = await read(['cat stream']);
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
      await expect(read(lines)).rejects.toThrow(sentence);
    });

    test('a program that is not there is named', async () => {
      const reading = readJob({ ...admin, program: '/nowhere/rbd' }, job, new Twin());
      await expect(reading).rejects.toThrow(/rbd is not installed/);
    });

    test('a name that could be an option reaches nobody', async () => {
      const bad = { ...job.source, name: { ...job.source.name, image: '--help' } };
      await expect(readJob(admin, { ...job, source: bad }, new Twin())).rejects.toThrow(
        /its image is "--help"/,
      );
    });
  });
});
