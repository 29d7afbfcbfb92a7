import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fixtureBytes, fixturePath, volumeSnapshot } from '../volumes/zfs/testing/fixtures.ts';
import { Workbench } from './testing/command.ts';

const VOLUME = ['--volume', 'shop/db', '--as', 'zvol'];

/** Streams that zfs send wrote, through pipes into the command, and the volume out of it. */
describe('a zvol through pipes', () => {
  let bench: Workbench;

  beforeAll(async () => {
    bench = await Workbench.create();
    await bench.json(['init']);
  });
  afterAll(() => bench.remove());

  test('a full stream, then increments onto the last backup', async () => {
    const sends = [
      ['zvol-8k-full', 's0'],
      ['zvol-8k-inc1', 's1'],
      ['zvol-8k-inc2', 's2'],
    ] as const;
    for (const [id, snapshot] of sends) {
      const { volsize, sha256 } = volumeSnapshot('rnd8k', snapshot);
      const input = fixtureBytes(id);
      const lines = await bench.json(['backup', '--stdin', ...VOLUME], { input });
      expect(lines.at(-1)).toMatchObject({
        message_type: 'summary',
        format: 'image',
        total_bytes_processed: volsize,
        bytes_read: input.length,
      });
      const restoring = await bench.start(['restore', 'latest', '--volume', 'shop/db', '--to', '-']);
      const out = createHash('sha256');
      for await (const chunk of restoring.stdout as AsyncIterable<Buffer>) out.update(chunk);
      expect((await restoring.finished).status).toBe(0);
      expect(out.digest('hex')).toBe(sha256);
    }
  });

  test('from a program', async () => {
    const command = ['--stdin-command', 'gunzip', '-c', fixturePath('zvol-8k-inc3')];
    await bench.json(['backup', ...VOLUME, ...command]);
    const to = `file:${bench.path('disk')}`;
    await bench.json(['restore', 'latest', '--volume', 'shop/db', '--to', to]);
    expect(hash('sha256', await readFile(bench.path('disk')))).toBe(volumeSnapshot('rnd8k', 's3').sha256);
  });

  test('what does not fit is refused with both guids', async () => {
    const input = fixtureBytes('zvol-8k-inc1');
    const { status, stderr } = await bench.run(['backup', '--stdin', ...VOLUME], { input });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /since the snapshot with guid 8630424881063117644, but backup \w{8} is of the one with guid 3807407221536095147/,
    );
  });

  test('a program that stops halfway makes no backup, whatever it says itself', async () => {
    const half = `gunzip -c '${fixturePath('zvol-8k-full')}' | head -c 1000000`;
    for (const [script, message] of [
      [half, /it stops after 1000000 bytes, before its end/],
      [`${half}; exit 3`, /sh: exit status 3/],
    ] as const) {
      const { status, stderr } = await bench.run([
        'backup',
        ...VOLUME,
        '--stdin-command',
        'sh',
        '-c',
        script,
      ]);
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
    }
    const [snapshots] = (await bench.json(['snapshots'])) as unknown[][];
    expect(snapshots).toHaveLength(4);
  });

  test('other streams are sent to where they belong', async () => {
    const { status, stderr } = await bench.run(['backup', '--stdin', ...VOLUME], {
      input: fixtureBytes('fs-inc4'),
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/the stream of a filesystem, not of a volume \(keep it as it is: --as zfs\)/);
    const file = await bench.run(['backup', `file:${bench.path('disk')}`, ...VOLUME]);
    expect(file.stderr).toMatch(/--as zvol is for --stdin and --stdin-command/);
  });
});
