import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { PASSWORD, Workbench } from './testing/command.ts';

type Fields = Record<string, unknown>;

/** The pack files of a local repository with their sizes. */
async function packsOf(bench: Workbench): Promise<{ path: string; size: number }[]> {
  const folder = join(bench.repository, 'data');
  const names = await readdir(folder, { recursive: true });
  const paths = names.filter((name) => /[0-9a-f]{64}$/.test(name)).map((name) => join(folder, name));
  return Promise.all(paths.map(async (path) => ({ path, size: (await stat(path)).size })));
}

async function bytesOf(bench: Workbench): Promise<number> {
  return (await packsOf(bench)).reduce((sum, { size }) => sum + size, 0);
}

describe('looking after a repository', () => {
  let bench: Workbench;
  const backup = async (name: string): Promise<Fields> =>
    (await bench.json(['backup', `file:${bench.path(name)}`, '--volume', 'shop/db'])).at(-1) as Fields;

  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.json(['init']);
    await bench.image('old.img', 4);
    await bench.image('new.img', 2);
    await backup('old.img');
    await backup('new.img');
  });
  afterAll(() => bench.remove());

  test('check finds a sound repository sound', async () => {
    const lines = await bench.json(['check', '--read-data']);
    expect(lines.at(-1)).toMatchObject({
      message_type: 'summary',
      num_errors: 0,
      num_hints: 0,
      problems: [],
    });
    const { stdout } = await bench.run(['check', '--read-data']);
    expect(stdout).toMatch(/^no damage found: 2 snapshots, \d+ packs, .* read back and verified/);
    expect((await bench.run(['check', '--read-data-subset', '1/2'])).status).toBe(0);
  });

  test('forget --prune --dry-run changes nothing, forget --prune frees the space', async () => {
    const before = await bytesOf(bench);
    const dry = await bench.json(['forget', '--keep-last', '1', '--prune', '--dry-run']);
    expect(
      dry.map((line) => (line as Fields)['message_type']).filter((type) => type === 'summary'),
    ).toHaveLength(2);
    expect(await bytesOf(bench)).toBe(before);
    const lines = (await bench.json(['forget', '--keep-last', '1', '--prune'])) as Fields[];
    const summaries = lines.filter((line) => line['message_type'] === 'summary');
    expect((summaries[0]?.['removed'] as string[]).length).toBe(1);
    expect(summaries[1]).toMatchObject({ dry_run: false, company: 'nobody', obstacles: [] });
    expect(before - (await bytesOf(bench))).toBeGreaterThan(3 << 20);
    expect((await bench.run(['check', '--read-data'])).status).toBe(0);
    expect(await bench.json(['inspect', 'lock'])).toEqual([[]]);
  });

  test('prune tells what it does', async () => {
    const { status, stdout } = await bench.run(['prune']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^in use: +2\.0 MiB in \d+ blobs\nunused: +0 B in 0 blobs\n/);
  });

  test('stats', async () => {
    const [stats] = await bench.json(['stats']);
    expect(stats).toMatchObject({
      snapshots_count: 1,
      volumes_count: 1,
      packs_count: (await packsOf(bench)).length,
    });
    expect((stats as Fields)['total_stored_size']).toBeGreaterThan(2 << 20);
    const { stdout } = await bench.run(['stats', 'latest']);
    expect(stdout).toMatch(/^Backups: +1 of 1 volume\nRestore size: +2\.0 MiB in 3 files\n/);
  });

  test('copy into a second repository that cuts alike, twice', async () => {
    const second = ['-r', bench.path('second')];
    const from = { env: { RESTIC_FROM_REPOSITORY: bench.repository, RESTIC_FROM_PASSWORD: PASSWORD } };
    await bench.json([...second, 'init', '--copy-chunker-params'], from);
    const [ours, theirs] = await Promise.all(
      [[], second].map(async (where) => (await bench.json([...where, 'inspect', 'config']))[0] as Fields),
    );
    expect(theirs?.['chunker_polynomial']).toBe(ours?.['chunker_polynomial']);
    expect(theirs?.['id']).not.toBe(ours?.['id']);
    const dry = await bench.json([...second, 'copy', '--dry-run'], from);
    expect(dry.at(-1)).toMatchObject({ dry_run: true, copied: [], skipped: [] });
    const copied = (await bench.json([...second, 'copy'], from)).at(-1) as Fields;
    expect(copied['copied']).toHaveLength(1);
    const again = (await bench.json([...second, 'copy'], from)).at(-1) as Fields;
    expect(again).toMatchObject({ copied: [], blobs: 0 });
    expect(again['skipped']).toHaveLength(1);
    await bench.json([...second, 'restore', 'latest', '--to', `file:${bench.path('copy.img')}`]);
    expect(await readFile(bench.path('copy.img'))).toEqual(await readFile(bench.path('new.img')));
    const missing = await bench.run([...second, 'copy']);
    expect(missing.stderr).toContain('use --from-repo LOCATION or RESTIC_FROM_REPOSITORY');
  });

  test('a lost index is damage until it is repaired', async () => {
    await rm(join(bench.repository, 'index'), { recursive: true });
    const damaged = await bench.run(['check', '--json']);
    expect(damaged.status).toBe(1);
    expect(JSON.parse(damaged.stderr)).toMatchObject({ message_type: 'exit_error', code: 1 });
    expect(JSON.parse(damaged.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
      message_type: 'summary',
    });
    const dry = await bench.json(['repair', 'index', '--dry-run']);
    expect(dry.at(-1)).toMatchObject({ dry_run: true, packs_to_read: (await packsOf(bench)).length });
    expect((await bench.json(['repair', 'index'])).at(-1)).toMatchObject({ dry_run: false, unreadable: [] });
    expect((await bench.run(['check', '--read-data'])).status).toBe(0);
    expect((await bench.run(['repair', 'index'])).stdout).toContain('the index was in order');
  });

  test('a truncated pack is named, and a restore stops rather than hand over something else', async () => {
    const [pack] = (await packsOf(bench)).sort((a, b) => b.size - a.size);
    await truncate(pack?.path ?? '', (pack?.size ?? 0) - 1000);
    const { status, stderr } = await bench.run(['check']);
    expect(status).toBe(1);
    expect(stderr).toContain(`damage: pack ${pack?.path.slice(-64) ?? ''}`);
    expect(stderr).toMatch(
      /datamover: check .*: the repository is damaged: \d+ problems? \(docs\/operations\.md/,
    );
    const restore = await bench.run([
      'restore',
      'latest',
      '--volume',
      'shop/db',
      '--to',
      `file:${bench.path('out')}`,
    ]);
    expect(restore.status).toBe(1);
    expect(restore.stderr).toMatch(/^datamover: [^\n]+\n$/);
  });
});

describe('a backup that was killed', () => {
  test('is found by the next one, which uploads nothing twice', async () => {
    const bench = await Workbench.create();
    try {
      await bench.json(['init']);
      await bench.image('disk.img', 40);
      const args = ['--json', 'backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/db'];
      const running = await bench.start([...args, '--limit-upload', '8000'], {
        env: { RESTIC_PROGRESS_FPS: '20' },
      });
      let seen = '';
      for await (const chunk of running.stdout as AsyncIterable<Buffer>) {
        seen += chunk.toString();
        if ((await packsOf(bench)).length > 0) break;
      }
      process.kill(running.pid, 'SIGKILL');
      await expect(running.finished).rejects.toThrow('SIGKILL');
      const uploaded = await bytesOf(bench);
      const { status, stdout, stderr } = await bench.run(args);
      expect(stderr).toContain('a backup was cut off earlier');
      expect(status).toBe(0);
      const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, number>;
      expect(seen).toContain('"message_type":"status"');
      // Packs hold little besides the data, which does not compress.
      expect(summary['deduplicated_bytes']).toBeGreaterThan(0.99 * uploaded - (1 << 20));
      expect(summary['data_added']).toBeLessThan((41 << 20) - 0.99 * uploaded);
      expect((await bench.run(['check', '--read-data'])).status).toBe(0);
    } finally {
      await bench.remove();
    }
  });
});
