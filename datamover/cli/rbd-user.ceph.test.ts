import { randomBytes, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startCeph, type CephCluster } from '../../e2e/servers/ceph.ts';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { run } from '../process/spawn.ts';
import type { DriverSite } from '../volumes/driver.suite.ts';
import { rbdSite } from '../volumes/rbd/testing/sites.ts';
import type { BackupRecord } from './storage.suite.ts';
import { Workbench } from './testing/command.ts';

const MIB = 1 << 20;
const PATIENCE = 600_000;

describePeer('ceph', 'users of Ceph with few rights, through the command', () => {
  let bench: Workbench;
  let ceph: CephCluster;
  let site: DriverSite;

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

  /** A new user with these rights in the test pool alone; gives the options that name it and its key's file. */
  const user = async (profile: 'rbd' | 'rbd-read-only', pool: string): Promise<string[]> => {
    const name = `few-${randomUUID()}`;
    const caps = ['mon', `profile ${profile}`, 'osd', `profile ${profile} pool=${pool}`];
    const args = ['auth', 'get-or-create', `client.${name}`, ...caps];
    const { stdout } = await run({ file: 'ceph', args, env: ceph.environment });
    const keyring = bench.path(`${name}.keyring`);
    await writeFile(keyring, stdout, { mode: 0o600 });
    const conf = ceph.environment.CEPH_CONF;
    return ['--ceph-conf', conf, '--ceph-id', name, '--ceph-keyring', keyring];
  };

  test(
    'one who may only read backs up, and is told that it may not restore; one of the pool restores',
    async () => {
      const reader = await user('rbd-read-only', ceph.pool);
      const writer = await user('rbd', ceph.pool);
      const volume = await site.makeVolume(16 * MIB);
      await volume.write(MIB, randomBytes(3 * MIB));
      await volume.snapshot('one');
      const backUp = async (location: string, by: readonly string[]): Promise<BackupRecord> =>
        (await bench.json(['backup', `rbd:${location}`, '--volume', 'shop/few', ...by])).at(
          -1,
        ) as BackupRecord;
      const first = await backUp(`${volume.location}@one`, reader);
      await volume.write(9 * MIB, randomBytes(4096));
      const two = await volume.snapshot('two');
      const second = await backUp(two, reader);
      expect(second).toMatchObject({
        base: first.snapshot_id,
        changes: { mechanism: 'rbd-export-diff' },
        warnings: [],
      });
      const before = (await site.list()).sort();
      const target = site.newTarget();
      const restore = ['restore', second.snapshot_id, '--to', `rbd:${target}`, '--verify'];
      const refused = await bench.run([...restore, ...reader]);
      expect(refused.status).toBe(1);
      expect(refused.stderr).toMatch(/^datamover: [^\n]*\n$/);
      expect((await site.list()).sort()).toEqual(before);
      await bench.json([...restore, ...writer]);
      expect((await site.read(target)).equals(await site.read(two))).toBe(true);
    },
    PATIENCE,
  );

  test(
    'one without rights in the pool is refused in one sentence, which does not tell the key',
    async () => {
      const stranger = await user('rbd', 'another-pool');
      const volume = await site.makeVolume(4 * MIB);
      const one = await volume.snapshot('one');
      const { status, stderr } = await bench.run([
        ...['backup', `rbd:${one}`, '--volume', 'shop/few', ...stranger],
      ]);
      expect(status).toBe(1);
      expect(stderr).toMatch(/^datamover: [^\n]*(permitted|capabilities|profile rbd)[^\n]*\n$/);
      expect(stderr).not.toMatch(/[A-Za-z0-9+/]{38}==/);
    },
    PATIENCE,
  );
});
