import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { hash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { startCeph, type CephCluster } from '../../e2e/servers/ceph.ts';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startOpenZfs, type OpenZfs } from '../../e2e/servers/openzfs.ts';
import { run } from '../process/spawn.ts';
import type { DriverSite } from '../volumes/driver.suite.ts';
import { rbdSite } from '../volumes/rbd/testing/sites.ts';
import type { BackupRecord } from './storage.suite.ts';
import { DATAMOVER, Workbench } from './testing/command.ts';

const MIB = 1 << 20;
const PATIENCE = 600_000;

describePeer('ceph', 'one volume on every storage', () => {
  describePeer('openzfs', 'through the command', () => {
    let bench: Workbench;
    let ceph: CephCluster;
    let zfs: OpenZfs;
    let site: DriverSite;

    beforeAll(async () => {
      bench = await Workbench.create();
      ceph = await startCeph();
      zfs = await startOpenZfs();
      site = await rbdSite(ceph);
      await bench.json(['init']);
    }, PATIENCE);
    afterAll(async () => {
      await site.dispose();
      for (const volume of ['cross', 'cross-wide', 'cross-narrow'])
        await zfs.zfs('destroy', '-R', `${zfs.pool}/${volume}`);
      await zfs.stop();
      await ceph.stop();
      await bench.remove();
    }, PATIENCE);

    const env = (): Record<string, string> => ({ ...ceph.environment, ...zfs.environment });
    const backUp = async (source: string, volume: string): Promise<BackupRecord> =>
      (await bench.json(['backup', source, '--volume', volume], { env: env() })).at(-1) as BackupRecord;
    /** Where the zvols are. Emulated, a start alone takes a quarter of a minute and more. */
    const inside = async (...args: string[]): Promise<BackupRecord> => {
      const { stdout } = await run({
        file: 'vm',
        args: ['--host', DATAMOVER, '--json', ...args],
        env: bench.environment(env()),
      });
      return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as BackupRecord;
    };

    test(
      'an RBD image becomes zvols of any block size, a file and an RBD image again, byte for byte, and is stored once',
      async () => {
        const image = await site.makeVolume(8 * MIB);
        await image.write(4096, randomBytes(2 * MIB));
        await image.write(7 * MIB + 512, randomBytes(MIB - 512));
        const snap = await image.snapshot('one');
        const expected = await site.read(snap);
        const first = await backUp(`rbd:${snap}`, 'shop/rbd');

        const zvol = `${zfs.pool}/cross`;
        await inside('restore', first.snapshot_id, '--to', `zfs:${zvol}`, '--thin', '--verify');
        await zfs.zfs('snapshot', `${zvol}@one`);
        const second = await backUp(`zfs:${zvol}@one`, 'shop/zvol');
        expect(second).toMatchObject({ format: 'image', data_added: 0, warnings: [] });

        const digest = hash('sha256', expected);
        const expectVolume = async (dataset: string, volblocksize: number): Promise<void> => {
          const said = await zfs.zfs('get', '-Hpo', 'value', 'volblocksize', dataset);
          expect(Number(said)).toBe(volblocksize);
          const { stdout } = await zfs.run('sha256sum', await zfs.device(dataset));
          expect(stdout.slice(0, 64)).toBe(digest);
        };
        const wide = ['--thin', '--verify', '--volblocksize', '64K'];
        await inside('restore', second.snapshot_id, '--to', `zfs:${zvol}-wide`, ...wide);
        await expectVolume(`${zvol}-wide`, 65_536);

        const file = bench.path('disk');
        await bench.json(['restore', second.snapshot_id, '--to', `file:${file}`, '--verify']);
        expect((await readFile(file)).equals(expected)).toBe(true);
        const third = await backUp(`file:${file}`, 'shop/file');
        expect(third.data_added).toBe(0);

        const narrow = ['--thin', '--verify', '--volblocksize', '4K'];
        await inside('restore', third.snapshot_id, '--to', `zfs:${zvol}-narrow`, ...narrow);
        await expectVolume(`${zvol}-narrow`, 4096);

        const target = site.newTarget();
        await bench.json(['restore', third.snapshot_id, '--to', `rbd:${target}`, '--verify'], { env: env() });
        expect((await site.read(target)).equals(expected)).toBe(true);
      },
      PATIENCE,
    );
  });
});
