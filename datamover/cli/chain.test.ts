import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { run, start } from '../process/spawn.ts';
import { merged } from '../volumes/zfs/merge/testing/merging.ts';
import { fixtureBytes, fixturePath } from '../volumes/zfs/testing/fixtures.ts';
import { Workbench } from './testing/command.ts';
import { until } from './testing/processes.ts';

/** What a stranger without this software needs. */
const JOIN = fileURLToPath(new URL('../../../docs/join-stream.py', import.meta.url));
const VOLUME = ['--volume', 'shop/files', '--as', 'zfs'];

interface Summary {
  readonly snapshot_id: string;
  readonly by_another: boolean;
  readonly removed: readonly string[];
}

/** A consolidation in a process of its own that has read what there is, has begun to merge, and stands still. */
class Merging {
  readonly ended: Promise<Summary>;
  readonly #pid: number;

  private constructor(pid: number, ended: Promise<Summary>) {
    this.#pid = pid;
    this.ended = ended;
  }

  static async start(bench: Workbench, volume: string): Promise<Merging> {
    const args = ['--json', 'consolidate', 'latest', '--volume', volume, '--forget'];
    // Slow enough for it to be in the middle when it has told of itself.
    const running = await bench.start([...args, '--limit-download', '3000'], {
      env: { RESTIC_PROGRESS_FPS: '20' },
    });
    const lines: string[] = [];
    const read = (async (): Promise<Summary> => {
      for await (const line of createInterface({ input: running.stdout })) {
        if (lines.push(line) === 1) process.kill(running.pid, 'SIGSTOP');
      }
      await running.finished;
      return JSON.parse(lines.at(-1) ?? '') as Summary;
    })();
    // Told where it is waited for.
    read.catch(() => undefined);
    await until(async () => /^State:\s+T/m.test(await readFile(`/proc/${running.pid}/status`, 'utf8')));
    expect(lines[0]).toMatch(/"message_type":"status"/);
    return new Merging(running.pid, read);
  }

  goOn(): void {
    process.kill(this.#pid, 'SIGCONT');
  }
}

/** What zfs send wrote of a filesystem, through pipes into the command, and out again for zfs receive. */
describe('a dataset through pipes', () => {
  let bench: Workbench;

  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.json(['init']);
    const input = fixtureBytes('fs-full');
    await bench.json(['backup', '--stdin', ...VOLUME], { input });
    const command = ['--stdin-command', 'gunzip', '-c', fixturePath('fs-inc1')];
    const lines = await bench.json(['backup', ...VOLUME, ...command]);
    expect(lines.at(-1)).toMatchObject({
      message_type: 'summary',
      format: 'stream',
      total_bytes_processed: input.length + fixtureBytes('fs-inc1').length,
      bytes_read: fixtureBytes('fs-inc1').length,
    });
  });
  afterAll(() => bench.remove());

  async function output(...args: readonly string[]): Promise<Buffer> {
    const running = await bench.start(['restore', 'latest', '--volume', 'shop/files', '--to', '-', ...args]);
    const parts: Buffer[] = [];
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) parts.push(chunk);
    expect((await running.finished).status).toBe(0);
    return Buffer.concat(parts);
  }

  test('comes out stream after stream, or one alone', async () => {
    const [full, inc1] = [fixtureBytes('fs-full'), fixtureBytes('fs-inc1')];
    expect((await output('--as', 'zfs')).equals(Buffer.concat([full, inc1]))).toBe(true);
    expect((await output('--as', 'zfs', '--stream', '12420150693046106040')).equals(inc1)).toBe(true);
  });

  test('F-62 consolidate --forget removes the old snapshot also where an earlier job merged it and came no further', async () => {
    const volume = ['--volume', 'shop/merged', '--as', 'zfs'];
    const send = async (fixture: string): Promise<string> => {
      const input = fixtureBytes(fixture);
      const { snapshot_id: id } = (await bench.json(['backup', '--stdin', ...volume], { input })).at(-1) as {
        snapshot_id: string;
      };
      return id;
    };
    const consolidate = async (...more: string[]): Promise<Record<string, unknown>> =>
      (await bench.json(['consolidate', ...more])).at(-1) as Record<string, unknown>;
    await send('fs-full');
    const old = await send('fs-inc1');
    const merged = await consolidate(old);
    expect(merged).toMatchObject({ original: old, streams: 2, by_another: false, removed: [] });
    const again = {
      original: old,
      nothing: expect.stringMatching(/merged already/),
      bytes_read: expect.any(Number),
    };
    const same = { ...again, snapshot_id: merged['snapshot_id'] };
    expect(await consolidate(old)).toMatchObject({ ...same, removed: [] });
    expect(await consolidate(old, '--forget', '--dry-run')).toMatchObject({ ...same, removed: [] });
    expect(await consolidate(old, '--forget')).toMatchObject({ ...same, removed: [old] });
    const done = await consolidate('latest', '--volume', 'shop/merged', '--forget');
    expect(done).toMatchObject({ original: merged['snapshot_id'], removed: [] });
    expect(done['nothing']).toMatch(/one full stream already/);
    // By its newest name, too.
    const next = await send('fs-inc2');
    const second = await consolidate(next);
    const last = await consolidate('latest', '--volume', 'shop/merged', '--forget');
    expect(last).toMatchObject({ original: second['snapshot_id'], removed: [next] });
    expect((await bench.json(['restore', 'latest', '--volume', 'shop/merged', '--list']))[0]).toHaveLength(1);
  });

  test.each(['one after the other', 'at once'])(
    'F-62 two that consolidate --forget the same backup end well, and nothing is lost: %s',
    async (order) => {
      const volume = `shop/${order.replaceAll(' ', '-')}`;
      const ids: unknown[] = [];
      for (const fixture of ['fs-full', 'fs-inc1', 'fs-inc2']) {
        const args = ['backup', '--stdin', '--volume', volume, '--as', 'zfs'];
        ids.push((await bench.json(args, { input: fixtureBytes(fixture) })).at(-1));
      }
      const old = ids.map((line) => (line as { snapshot_id: string }).snapshot_id);
      const jobs = [await Merging.start(bench, volume), await Merging.start(bench, volume)];
      // Both have seen the chain as it was, and merge it.
      for (const job of order === 'at once' ? jobs : jobs.toReversed()) {
        job.goOn();
        if (order !== 'at once') await job.ended;
      }
      const done = await Promise.all(jobs.map((job) => job.ended));
      expect(done.flatMap(({ removed }) => removed)).toEqual([old[2]]);
      const listed = (await bench.json(['snapshots', '--volume', volume]))[0] as { id: string }[];
      const made = listed.map(({ id }) => id).filter((id) => !old.includes(id));
      expect(listed.map(({ id }) => id)).toEqual(expect.arrayContaining(old.slice(0, 2)));
      expect(listed).toHaveLength(2 + made.length);
      expect(new Set(done.map(({ snapshot_id: id }) => id))).toEqual(new Set(made));
      if (order !== 'at once') expect(made).toHaveLength(1);
      // Who ends last saves none where it sees that of the other.
      expect(done.filter(({ by_another: other }) => other)).toHaveLength(2 - made.length);
      const [, , third] = old;
      // Also whoever comes later, and names the old one, finds it merged.
      if (made.length === 1)
        expect((await bench.json(['consolidate', third ?? '', '--forget'])).at(-1)).toMatchObject({
          original: made[0],
          nothing: expect.stringMatching(/one full stream already/),
          removed: [],
        });
      await bench.json(['prune', '--max-unused', '0']);
      const expected = await merged(['fs-full', 'fs-inc1', 'fs-inc2'].map(fixtureBytes));
      for (const id of made) {
        const { stdout } = await bench.start(['restore', id, '--to', '-', '--as', 'zfs']);
        expect((await buffer(stdout)).equals(expected)).toBe(true);
      }
      await bench.json(['check', '--read-data']);
    },
    240_000,
  );

  describePeers(['restic-current', 'python3'], 'without this software', (restic, python) => {
    test('F-35 F-40 F-56 restic and a script of a page put each stream together', async () => {
      const theirs = bench.path('theirs');
      await run({
        file: restic.file,
        args: ['--no-cache', 'restore', 'latest', '--tag', 'volume=shop/files', '--target', theirs],
        env: bench.environment(),
      });
      const folders = (await readdir(join(theirs, 'streams'))).sort();
      expect(folders).toHaveLength(2);
      for (const [i, name] of folders.entries()) {
        const files = ['records', 'blocks'].map((file) => join(theirs, 'streams', name, file));
        const joining = await start({ file: python.file, args: [JOIN, ...files] });
        const stream = await buffer(joining.stdout);
        await joining.finished;
        expect(stream.equals(fixtureBytes(i === 0 ? 'fs-full' : 'fs-inc1'))).toBe(true);
      }
      const records = join(theirs, 'streams', folders[0] ?? '', 'records');
      const short = await run({ file: python.file, args: [JOIN, records, '/dev/null'], accept: [1] });
      expect(short.stderr).toMatch(/\/dev\/null ends too early/);
    });
  });

  test('is listed', async () => {
    const list = ['restore', 'latest', '--volume', 'shop/files', '--list'];
    const [streams] = await bench.json(list);
    expect(streams).toMatchObject([
      { number: 0, guid: '11801127595853735247', from: null, snapshot: 'tank/src/files@s0', bytes: 10235872 },
      { number: 1, guid: '12420150693046106040', from: '11801127595853735247', bytes: 1812144 },
    ]);
    const { stdout } = await bench.run(list);
    expect(stdout).toMatch(/1 +12420150693046106040 +11801127595853735247 +tank\/src\/files@s1 +1\.7\d* MiB/);
  });

  test('what does not fit is refused with both guids', async () => {
    const refused = await bench.run(['backup', '--stdin', ...VOLUME], { input: fixtureBytes('fs-inc3') });
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(
      /since the snapshot with guid 1152032646798035497, but backup \w{8} is of the one with guid 12420150693046106040/,
    );
  });
});
