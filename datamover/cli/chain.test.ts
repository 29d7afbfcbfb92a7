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

  describePeers(['restic-current', 'python3'], 'without this software', (restic, python) => {
    test('F-35 F-40 F-56 restic and a script of a page put each stream together', async () => {
      const theirs = bench.path('theirs');
      await run({
        file: restic.file,
        args: ['--no-cache', 'restore', 'latest', '--target', theirs],
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
