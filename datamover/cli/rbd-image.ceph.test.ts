import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { startCeph, type CephCluster } from '../../e2e/servers/ceph.ts';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { run } from '../process/spawn.ts';
import { Repository } from '../repository/repository.ts';
import { openStore } from '../store/location.ts';
import { forgeBackup } from '../transfer/testing/forgery.ts';
import type { DriverSite, SiteVolume } from '../volumes/driver.suite.ts';
import { rbdSite } from '../volumes/rbd/testing/sites.ts';
import type { BackupRecord } from './storage.suite.ts';
import { PASSWORD, Workbench } from './testing/command.ts';

const MIB = 1 << 20;
const PATIENCE = 600_000;

describePeer('ceph', 'RBD images through the command', () => {
  let bench: Workbench;
  let ceph: CephCluster;
  let site: DriverSite;
  let made = 0;

  beforeAll(async () => {
    bench = await Workbench.create();
    ceph = await startCeph();
    site = await rbdSite(ceph);
    await bench.json(['init']);
  }, PATIENCE);
  afterAll(async () => {
    await site.dispose();
    await ceph.stop();
    await bench.remove();
  }, PATIENCE);

  const env = (): Record<string, string> => ({ ...ceph.environment });
  const rbd = (...args: string[]) => run({ file: 'rbd', args, env: env() });
  const filled = async (): Promise<{ volume: SiteVolume; name: string }> => {
    const volume = await site.makeVolume(24 * MIB);
    await volume.write(0, randomBytes(8 * MIB));
    return { volume, name: `shop/image-${made++}` };
  };
  // The cluster's configuration comes from the environment here.
  const backUp = async (location: string, name: string, ...more: string[]): Promise<BackupRecord> =>
    (await bench.json(['backup', `rbd:${location}`, '--volume', name, ...more], { env: env() })).at(
      -1,
    ) as BackupRecord;
  const expectRestored = async (id: string, location: string): Promise<void> => {
    const target = site.newTarget();
    await bench.json(['restore', id, '--to', `rbd:${target}`, '--verify'], { env: env() });
    expect((await site.read(target)).equals(await site.read(location))).toBe(true);
  };

  test(
    'a base that has vanished: everything allocated is read and little is stored; as a base that must be it is refused',
    async () => {
      const { volume, name } = await filled();
      const one = await volume.snapshot('one');
      const first = await backUp(one, name);
      await rbd('snap', 'rm', '--no-progress', one);
      await volume.write(MIB, randomBytes(4096));
      const two = await volume.snapshot('two');
      const must = ['backup', `rbd:${two}`, '--volume', name, '--base', first.snapshot_id];
      const refused = await bench.run(must, { env: env() });
      expect(refused.status).toBe(1);
      expect(refused.stderr).toMatch(
        /^datamover: back up rbd image .*@two: Ceph cannot tell what changed since backup \w{8}: the snap one \(id \d+\) of backup \w{8} is gone \(.*\)\n$/,
      );
      const second = await backUp(two, name);
      expect(second).not.toHaveProperty('base');
      expect(second.changes).toMatchObject({
        mechanism: 'allocated-extents',
        because: expect.stringMatching(/the snap one .* is gone/),
      });
      expect(second.data_added).toBe(MIB);
      await expectRestored(second.snapshot_id, two);
    },
    PATIENCE,
  );

  test(
    'an image that was rolled back, shrunk and grown again is an increment like any other',
    async () => {
      const { volume, name } = await filled();
      const one = await volume.snapshot('one');
      const first = await backUp(one, name);
      await volume.write(2 * MIB, randomBytes(MIB));
      await volume.write(20 * MIB, randomBytes(MIB));
      const second = await backUp(await volume.snapshot('two'), name);
      await rbd('snap', 'rollback', '--no-progress', one);
      await volume.write(4 * MIB, randomBytes(4096));
      const three = await volume.snapshot('three');
      const third = await backUp(three, name, '--sample', '100');
      expect([second.base, third.base]).toEqual([first.snapshot_id, second.snapshot_id]);
      expect(third.warnings).toEqual([]);
      await rbd('resize', '--no-progress', '--allow-shrink', '--size', '6M', volume.location);
      await rbd('resize', '--no-progress', '--size', '30M', volume.location);
      const four = await volume.snapshot('four');
      const fourth = await backUp(four, name, '--sample', '100');
      expect(fourth).toMatchObject({ base: third.snapshot_id, warnings: [] });
      await expectRestored(third.snapshot_id, three);
      await expectRestored(fourth.snapshot_id, four);
    },
    PATIENCE,
  );

  test(
    'a base that is not what its backup says is found out by the sample, and the backup is right',
    async () => {
      const { volume, name } = await filled();
      const first = await backUp(await volume.snapshot('one'), name);
      await volume.write(2 * MIB, randomBytes(3 * MIB));
      await volume.write(20 * MIB, randomBytes(MIB));
      const second = await backUp(await volume.snapshot('two'), name);
      const store = await openStore(bench.repository, {});
      const repository = await Repository.open(store, PASSWORD);
      await repository.lock('shared');
      await repository.loadIndex();
      const forged = await forgeBackup(repository, first.snapshot_id, second.snapshot_id);
      await repository.close();
      await store.close();

      await volume.write(10 * MIB, randomBytes(4096));
      const three = await volume.snapshot('three');
      const args = ['--json', 'backup', `rbd:${three}`, '--volume', name, '--sample', '100'];
      const { status, stdout, stderr } = await bench.run([...args, '--base', forged], { env: env() });
      expect([status, stderr]).toEqual([
        0,
        expect.stringMatching(/what rbd-export-diff says .* cannot be trusted/),
      ]);
      const third = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as BackupRecord;
      expect(third).toMatchObject({
        changes: { mechanism: 'everything' },
        sample: { cells: 3, differs_at: 2 * MIB },
        distrusted: { mechanism: 'rbd-export-diff', base: forged, differs_at: 2 * MIB },
      });
      expect(third.warnings).toHaveLength(1);
      await expectRestored(third.snapshot_id, three);
    },
    PATIENCE,
  );

  test(
    'a new image is made as wished, or as the old one was; no wish of another storage is taken',
    async () => {
      const { volume, name } = await filled();
      const { snapshot_id: id } = await backUp(await volume.snapshot('one'), name);
      const info = async (location: string): Promise<Record<string, unknown>> =>
        JSON.parse((await rbd('info', '--format', 'json', location)).stdout) as Record<string, unknown>;
      const [plain, wished] = [site.newTarget(), site.newTarget()];
      await bench.json(['restore', id, '--to', `rbd:${plain}`], { env: env() });
      expect((await info(plain))['object_size']).toBe((await info(volume.location))['object_size']);
      const wishes = ['--object-size', '8M', '--features', 'layering'];
      await bench.json(['restore', id, '--to', `rbd:${wished}`, ...wishes], { env: env() });
      expect(await info(wished)).toMatchObject({ object_size: 8 * MIB, features: ['layering'] });
    },
    PATIENCE,
  );

  test(
    'a cluster that cannot be reached is one sentence',
    async () => {
      const { status, stderr } = await bench.run(
        ['backup', `rbd:${site.missing}`, '--volume', 'shop/db', '--ceph-conf', bench.path('no.conf')],
        { env: env() },
      );
      expect(status).toBe(1);
      expect(stderr).toMatch(/^datamover: [^\n]*missing[^\n]*\n$/);
    },
    PATIENCE,
  );
});
