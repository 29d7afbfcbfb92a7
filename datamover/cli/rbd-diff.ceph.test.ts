import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { startCeph, type CephCluster } from '../../e2e/servers/ceph.ts';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { run } from '../process/spawn.ts';
import { Librbd } from '../volumes/rbd/testing/librbd.ts';
import { Workbench } from './testing/command.ts';

const MIB = 1 << 20;
const VOLUME = ['--volume', 'shop/db'];

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The commands of the manual, with the real rbd at both ends. */
describePeer('ceph', 'RBD diffs through pipes', () => {
  let bench: Workbench;
  let ceph: CephCluster;
  let client: Librbd;
  const image = `piped-${randomUUID()}`;

  beforeAll(async () => {
    bench = await Workbench.create();
    ceph = await startCeph();
    client = new Librbd(ceph);
    await bench.json(['init']);
    await rbd('create', '--size', '24M', `${ceph.pool}/${image}`);
  });
  afterAll(async () => {
    client.close();
    await ceph.stop();
    await bench.remove();
  });

  const rbd = (...args: string[]) => run({ file: 'rbd', args, env: ceph.environment });
  const backup = (...args: string[]) =>
    bench.json(
      [
        'backup',
        ...VOLUME,
        '--as',
        'rbd-diff',
        '--stdin-command',
        'rbd',
        'export-diff',
        '--no-progress',
        ...args,
        '-',
      ],
      { env: ceph.environment },
    );

  test('a full diff, then increments, and back into an image', async () => {
    const open = client.open(image);
    open.write(0, randomBytes(3 * MIB));
    open.write(9 * MIB + 17, randomBytes(MIB));
    open.snap('monday');
    open.write(2 * MIB + 5, randomBytes(5000));
    open.discard(9 * MIB, MIB);
    open.resize(18 * MIB);
    open.write(18 * MIB - 9, randomBytes(9));
    open.snap('tuesday');
    open.close();
    const name = `${ceph.pool}/${image}`;
    await backup(`${name}@monday`);
    const lines = await backup('--from-snap', 'monday', `${name}@tuesday`);
    expect(lines.at(-1)).toMatchObject({ format: 'image', total_bytes_processed: 18 * MIB });
    for (const [snapshot, snap] of [
      ['latest~1', 'monday'],
      ['latest', 'tuesday'],
    ] as const) {
      const target = `${image}-${snap}`;
      // One that is not empty: what is zero must be said.
      await rbd('create', '--size', '30M', `${ceph.pool}/${target}`);
      const dirty = client.open(target);
      dirty.write(4 * MIB, randomBytes(20 * MIB));
      dirty.close();
      const restoring = await bench.start(['restore', snapshot, ...VOLUME, '--to', '-', '--as', 'rbd-diff']);
      await run({
        file: 'rbd',
        args: ['import-diff', '--no-progress', '-', `${ceph.pool}/${target}`],
        env: ceph.environment,
        input: restoring.stdout,
      });
      expect((await restoring.finished).status).toBe(0);
      expect(sha256(client.read(target))).toBe(sha256(client.read(image, snap)));
    }
    const file = bench.path('disk');
    await bench.json(['restore', 'latest', ...VOLUME, '--to', `file:${file}`]);
    expect(sha256(await readFile(file))).toBe(sha256(client.read(image, 'tuesday')));
  });

  test('what does not fit is refused with both snaps; rbd’s failure is the backup’s', async () => {
    const name = `${ceph.pool}/${image}`;
    await rbd('snap', 'create', '--no-progress', `${name}@wednesday`);
    await expect(backup('--from-snap', 'monday', `${name}@wednesday`)).rejects.toThrow(
      /what changed since the snap monday, but backup \w{8} is of the snap tuesday/,
    );
    await expect(backup('--from-snap', 'sunday', `${name}@wednesday`)).rejects.toThrow(
      /exit status 2|no stream|ends in it|snap sunday/,
    );
    const [snapshots] = (await bench.json(['snapshots'])) as unknown[][];
    expect(snapshots).toHaveLength(2);
    const file = await bench.run(['restore', 'latest', ...VOLUME, '--to', 'file:x', '--as', 'rbd-diff']);
    expect(file.stderr).toMatch(/--as rbd-diff is for standard output/);
  });
});
