import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, stat, truncate, watch, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Repository } from '../repository/repository.ts';
import { openStore } from '../store/location.ts';
import { PASSWORD, Workbench } from './testing/command.ts';

type Fields = Record<string, unknown>;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The contract that others script against: one repository, used through all verbs, in order. */
describe('a volume there and back', () => {
  let bench: Workbench;
  let first: Buffer;
  let second: Buffer;
  let ids: string[];

  beforeAll(async () => {
    bench = await Workbench.create();
    first = await bench.image('disk.img', 4);
    // 12 MiB more that are a hole.
    await truncate(bench.path('disk.img'), 16 << 20);
    first = Buffer.concat([first], 16 << 20);
  });
  afterAll(() => bench.remove());

  test('init', async () => {
    const [made] = await bench.json(['init']);
    expect(made).toMatchObject({ message_type: 'initialized', repository: bench.repository, version: 2 });
  });

  test('backup: the last line is the summary, in restic’s words', async () => {
    const lines = await bench.json(
      [
        'backup',
        `file:${bench.path('disk.img')}`,
        '--volume',
        'shop/db',
        '--tag',
        'nightly',
        '--host',
        'c1',
        '--time',
        '2026-11-19 10:00:00',
      ],
      { env: { RESTIC_PROGRESS_FPS: '60' } },
    );
    const summary = lines.at(-1);
    expect(summary).toMatchObject({
      message_type: 'summary',
      volume: 'shop/db',
      format: 'image',
      total_bytes_processed: 16 << 20,
      data_added: 4 << 20,
      zero_bytes: 12 << 20,
      deduplicated_bytes: 0,
    });
    expect(lines.slice(0, -1).every((line) => (line as Fields)['message_type'] === 'status')).toBe(true);
    expect((summary as Fields)['snapshot_id']).toMatch(/^[0-9a-f]{64}$/);
  });

  test('a second backup stores what changed', async () => {
    second = Buffer.from(first);
    randomBytes(4096).copy(second, 1 << 20);
    await writeFile(bench.path('disk.img'), second);
    const lines = await bench.json(['backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/db']);
    expect(lines.at(-1)).toMatchObject({ data_added: 1 << 20, deduplicated_bytes: 3 << 20 });
  });

  test('a stream from a program, and one through a pipe', async () => {
    const args = ['--volume', 'shop/files', '--as', 'stream'];
    await bench.json(['backup', ...args, '--stdin', '--time', '2026-11-18 10:00:00'], {
      input: 'through a pipe',
    });
    // What follows the program is its own: -n would mean a dry run to us.
    const lines = await bench.json([
      'backup',
      ...args,
      '--stdin-command',
      'sh',
      '-c',
      'echo from a program',
      '-n',
    ]);
    expect(lines.at(-1)).toMatchObject({ format: 'stream', total_bytes_processed: 15, volume: 'shop/files' });
    const { stdout } = await bench.run(['restore', 'latest', '--volume', 'shop/files', '--to', '-']);
    expect(stdout).toBe('from a program\n');
  });

  test('a dry run stores nothing', async () => {
    const lines = await bench.json([
      'backup',
      `file:${bench.path('disk.img')}`,
      '--volume',
      'shop/new',
      '--dry-run',
    ]);
    expect(lines.at(-1)).toMatchObject({ message_type: 'summary', dry_run: true });
    expect(await bench.json(['snapshots', '--volume', 'shop/new'])).toEqual([[]]);
  });

  test('snapshots: an array, oldest first', async () => {
    const [list] = (await bench.json(['snapshots'])) as Fields[][];
    expect(list?.map((entry) => entry['volume'])).toEqual(['shop/files', 'shop/db', 'shop/db', 'shop/files']);
    ids = list?.map((entry) => String(entry['id'])) ?? [];
    expect(list?.[1]).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
      short_id: ids[1]?.slice(0, 8),
      namespace: 'shop',
      name: 'db',
      format: 'image',
      size: 16 << 20,
      driver: 'file',
      hostname: 'c1',
      paths: ['/shop/db'],
    });
    expect(list?.[1]?.['tags']).toContain('nightly');
    expect(new Date(String(list?.[1]?.['time'])).getTime()).toBe(new Date('2026-11-19 10:00:00').getTime());
    expect(list?.[2]?.['parent'] ?? ids[1]).toBe(ids[1]);
  });

  test('snapshots for people', async () => {
    const { stdout } = await bench.run(['snapshots', '--tag', 'nightly']);
    expect(stdout).toMatch(
      /^ID +Time +Volume +Format +Size +Driver +Host +Tags\n-+\n[0-9a-f]{8} {2}2026-11-19 10:00:00 {2}shop\/db +image +16\.0 MiB +file +c1 +nightly\n1 snapshot\n$/,
    );
  });

  test('restore: sparse, verified, byte for byte', async () => {
    const lines = await bench.json([
      'restore',
      'latest',
      '--volume',
      'shop/db',
      '--to',
      `file:${bench.path('out')}`,
      '--verify',
    ]);
    expect(lines.at(-1)).toMatchObject({
      message_type: 'summary',
      verified: true,
      bytes_restored: 16 << 20,
      bytes_skipped_zero: 12 << 20,
    });
    expect(sha256(await readFile(bench.path('out')))).toBe(sha256(second));
    expect((await stat(bench.path('out'))).blocks * 512).toBeLessThan(6 << 20);
  });

  test('restore over a file with --force, of an older backup', async () => {
    await bench.json([
      'restore',
      'latest~1',
      '--volume',
      'shop/db',
      '--to',
      `file:${bench.path('out')}`,
      '--force',
    ]);
    expect(sha256(await readFile(bench.path('out')))).toBe(sha256(first));
  });

  test('restore to standard output keeps it to the volume alone', async () => {
    const { stdout, stderr } = await bench.run([
      '--json',
      'restore',
      'latest',
      '--volume',
      'shop/files',
      '--to',
      '-',
    ]);
    expect(stdout).toBe('from a program\n');
    expect(JSON.parse(stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
      message_type: 'summary',
      bytes_restored: 15,
    });
  });

  test('ls', async () => {
    const [files] = (await bench.json(['ls', 'latest', '--volume', 'shop/db', 'image'])) as Fields[][];
    expect(files).toEqual([
      { path: '/image', type: 'dir', size: 0, blobs: 0 },
      { path: '/image/000000', type: 'dir', size: 0, blobs: 0 },
      { path: '/image/000000/data', type: 'file', size: 16 << 20, blobs: 16 },
      { path: '/image/000000/fingerprints', type: 'file', size: 256, blobs: 1 },
    ]);
  });

  test('inspect shows every kind of object', async () => {
    const one = async (...args: string[]): Promise<Fields> =>
      (await bench.json(['inspect', ...args]))[0] as Fields;
    expect(await one('config')).toMatchObject({ version: 2 });
    expect(await one('snapshot', ids[1] ?? '')).toMatchObject({ id: ids[1], hostname: 'c1' });
    const tree = await one('tree', `${ids[1] ?? ''}:/image/000000`);
    const [node] = tree['nodes'] as { name: string; content: string[] }[];
    expect(node).toMatchObject({ name: 'data', size: 16 << 20 });
    const blob = await one('blob', node?.content[0] ?? '');
    expect(blob).toMatchObject({ type: 'data', size: 1 << 20, id: sha256(first.subarray(0, 1 << 20)) });
    const pack = await one('pack', String(blob['pack']).slice(0, 12));
    expect((pack['blobs'] as Fields[]).map((entry) => entry['id'])).toContain(blob['id']);
    const [index] = (await bench.json(['inspect', 'indexes'])) as string[][];
    expect(await one('index', index?.[0] ?? '')).toMatchObject({ id: index?.[0] });
    const [keys] = (await bench.json(['inspect', 'keys'])) as string[][];
    expect(await one('key', keys?.[0]?.slice(0, 8) ?? '')).toMatchObject({ kdf: 'scrypt', current: true });
    const { stdout } = await bench.run(['inspect', 'blob', String(blob['id'])]);
    expect(stdout).toContain('Content: 1048576 bytes, verified');
  });

  test('key: add, list, change, remove', async () => {
    await writeFile(bench.path('second'), 'second password\n');
    const [added] = (await bench.json([
      'key',
      'add',
      '--new-password-file',
      bench.path('second'),
      '--user',
      'colleague',
    ])) as Fields[];
    const other = { env: { RESTIC_PASSWORD: 'second password' } };
    const [keys] = (await bench.json(['key', 'list'], other)) as Fields[][];
    expect(keys?.find((key) => key['current'])).toMatchObject({ id: added?.['id'], userName: 'colleague' });
    await writeFile(bench.path('third'), 'third');
    await bench.json(['key', 'passwd', '--new-password-file', bench.path('third')], other);
    expect((await bench.run(['snapshots'], other)).status).toBe(12);
    const [now] = (await bench.json(['key', 'list'], { env: { RESTIC_PASSWORD: 'third' } })) as Fields[][];
    expect(now).toHaveLength(2);
    await bench.json(['key', 'remove', String(now?.find((key) => key['current'])?.['id'])]);
    expect((await bench.run(['snapshots'], { env: { RESTIC_PASSWORD: 'third' } })).status).toBe(12);
  });

  test('a lock of somebody else is exit code 11, and --retry-lock waits for its end', async () => {
    const store = await openStore(bench.repository, {});
    const repository = await Repository.open(store, PASSWORD);
    await repository.lock('exclusive');
    try {
      const { status, stderr } = await bench.run(['snapshots', '--retry-lock', '1s']);
      expect(status).toBe(11);
      expect(stderr).toMatch(/^waiting for the lock: .*\ndatamover: lock repository .*locked by .*\n$/);
      expect((await bench.run(['snapshots', '--no-lock'])).status).toBe(0);
      const waiting = bench.run(['snapshots', '--retry-lock', '1m']);
      await repository.close();
      expect((await waiting).status).toBe(0);
    } finally {
      await repository.close();
      await store.close();
    }
  });

  test('a backup waits for our own prune by itself, unless it is told not to', async () => {
    await bench.image('beside-prune.img', 1);
    const store = await openStore(bench.repository, {});
    const repository = await Repository.open(store, PASSWORD);
    await repository.lock('exclusive');
    const args = ['backup', `file:${bench.path('beside-prune.img')}`, '--volume', 'shop/waits', '--dry-run'];
    try {
      const refused = await bench.run([...args, '--retry-lock', '0s']);
      expect([refused.status, refused.stderr]).toEqual([11, expect.stringContaining('locked by datamover/')]);
      // Its lock comes, and goes when it has met ours: from then on it waits.
      const met = new Map<string, number>();
      const locks = watch(join(bench.repository, 'locks'));
      const waiting = bench.run(args);
      for await (const { filename } of locks) {
        const events = (met.get(filename ?? '') ?? 0) + 1;
        met.set(filename ?? '', events);
        if (events === 2 && /^[0-9a-f]{64}$/.test(filename ?? '')) break;
      }
      await repository.close();
      const { status, stderr } = await waiting;
      expect([status, stderr]).toEqual([0, expect.stringMatching(/^waiting for the lock: .*datamover/)]);
    } finally {
      await repository.close();
      await store.close();
    }
  });

  test('forget: a policy with its reasons, first dry', async () => {
    const dry = await bench.run(['forget', '--keep-last', '1', '--group-by', 'volume', '--dry-run']);
    expect(dry.stdout).toContain('Reasons');
    expect(dry.stdout).toContain('last snapshot');
    expect(dry.stdout).toContain('would remove 1 snapshot');
    const [summary] = await bench.json(['forget', '--keep-last', '1', '--group-by', 'volume']);
    expect(summary).toMatchObject({
      message_type: 'summary',
      removed: expect.arrayContaining([ids[0], ids[1]]) as unknown,
    });
    const [left] = (await bench.json(['snapshots'])) as Fields[][];
    expect(left?.map((entry) => entry['id'])).toEqual([ids[2], ids[3]]);
  });

  test('forget by name', async () => {
    const [summary] = await bench.json(['forget', ids[3]?.slice(0, 10) ?? '']);
    expect(summary).toMatchObject({ named: [ids[3]], removed: [ids[3]] });
  });

  test('unlock', async () => {
    const [summary] = await bench.json(['unlock']);
    expect(summary).toMatchObject({ message_type: 'summary', removed: [], kept: 0 });
  });

  test('version', async () => {
    expect((await bench.json(['version']))[0]).toMatchObject({
      message_type: 'version',
      repository_versions: [1, 2],
    });
    expect((await bench.run(['--version'])).stdout).toMatch(/^datamover \d+\.\d+\.\d+ /);
  });
});
