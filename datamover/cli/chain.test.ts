import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { run, start } from '../process/spawn.ts';
import { fixtureBytes, fixturePath } from '../volumes/zfs/testing/fixtures.ts';
import { Workbench } from './testing/command.ts';

/** What a stranger without this software needs. */
const JOIN = fileURLToPath(new URL('../../../docs/join-stream.py', import.meta.url));
const VOLUME = ['--volume', 'shop/files', '--as', 'zfs'];

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

  test('consolidate --forget removes the old snapshot also where an earlier job merged it and came no further', async () => {
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
    expect(merged).toMatchObject({ original: old, streams: 2, removed: [] });
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
