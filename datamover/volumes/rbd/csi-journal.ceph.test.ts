import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startCeph, type CephCluster } from '../../../e2e/servers/ceph.ts';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { run } from '../../process/spawn.ts';
import type { RbdConnection } from './command.ts';
import { findCsiImage } from './csi-journal.ts';

describePeer('ceph', "ceph-csi's journal on a real cluster", () => {
  let ceph: CephCluster;
  let folder: string;
  /** A user with the capabilities that ceph-csi's own provisioner has. */
  let csi: RbdConnection;
  let poolId: number;

  const tool = async (file: string, ...args: string[]): Promise<string> =>
    (await run({ file, args, env: ceph.environment })).stdout;

  const journal = async (
    namespace: string,
    object: string,
    entries: Record<string, string>,
  ): Promise<void> => {
    const where = ['--pool', ceph.pool, ...(namespace === '' ? [] : ['--namespace', namespace])];
    await tool('rados', ...where, 'create', object);
    for (const [key, value] of Object.entries(entries))
      await tool('rados', ...where, 'setomapval', object, key, value);
  };

  beforeAll(async () => {
    ceph = await startCeph();
    folder = await mkdtemp(join(tmpdir(), 'datamover-journal-'));
    const user = `csi-${randomUUID()}`;
    const keyring = join(folder, 'keyring');
    const caps = ['mon', 'profile rbd', 'osd', 'profile rbd'];
    await writeFile(keyring, await tool('ceph', 'auth', 'get-or-create', `client.${user}`, ...caps));
    csi = { conf: ceph.environment.CEPH_CONF, user, keyring };
    const pools: unknown = JSON.parse(await tool('ceph', 'osd', 'lspools', '--format', 'json'));
    const found = (pools as { poolnum: number; poolname: string }[]).find(
      ({ poolname }) => poolname === ceph.pool,
    );
    poolId = found?.poolnum ?? -1;
  });

  afterAll(async () => {
    await ceph.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('gives the image of a snapshot and the volume it was taken of', async () => {
    const uuid = randomUUID();
    await journal('', `csi.snap.${uuid}`, {
      'csi.imagename': `backup-${uuid}`,
      'csi.source': 'csi-vol-1',
      'csi.snapname': 'snapshot-1',
    });
    expect(await findCsiImage(csi, { kind: 'snapshot', poolId, uuid })).toEqual({
      name: { pool: ceph.pool, image: `backup-${uuid}` },
      source: { pool: ceph.pool, image: 'csi-vol-1' },
    });
  });

  test('an entry without a name means the default one; a namespace of the pool is kept', async () => {
    const [snapshot, volume, namespace] = [randomUUID(), randomUUID(), `tenant-${randomUUID()}`];
    await tool('rbd', 'namespace', 'create', '--pool', ceph.pool, '--namespace', namespace);
    await journal(namespace, `csi.snap.${snapshot}`, { 'csi.snapname': 'x' });
    await journal(namespace, `csi.volume.${volume}`, { 'csi.source': 'of no meaning' });
    const place = { poolId, radosNamespace: namespace };
    expect(await findCsiImage(csi, { kind: 'snapshot', uuid: snapshot, ...place })).toEqual({
      name: { pool: ceph.pool, namespace, image: `csi-snap-${snapshot}` },
    });
    expect(await findCsiImage(csi, { kind: 'volume', uuid: volume, ...place })).toEqual({
      name: { pool: ceph.pool, namespace, image: `csi-vol-${volume}` },
    });
  });

  test('says what is not there, and does not hand on a name that no command may see', async () => {
    const uuid = randomUUID();
    await expect(findCsiImage(csi, { kind: 'volume', poolId, uuid })).rejects.toThrow(
      `csi.volume.${uuid}: ceph-csi knows no such volume or snapshot (it was deleted`,
    );
    await expect(findCsiImage(csi, { kind: 'volume', poolId: 4711, uuid })).rejects.toThrow(
      'pool 4711: the cluster has no pool of this number',
    );
    await journal('', `csi.volume.${uuid}`, { 'csi.imagename': 'one/two' });
    await expect(findCsiImage(csi, { kind: 'volume', poolId, uuid })).rejects.toThrow(
      'its image is "one/two"',
    );
  });
});
