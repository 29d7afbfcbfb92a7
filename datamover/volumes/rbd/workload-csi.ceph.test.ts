import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startCeph, type CephCluster } from '../../../e2e/servers/ceph.ts';
import { describePeers } from '../../../e2e/servers/describe-peers.ts';
import { RbdDriver } from './driver.ts';
import { Librbd } from './testing/librbd.ts';
import { CsiLife } from './testing/lives.ts';
import { runLife } from './testing/run-life.ts';

const PATIENCE = 3_600_000;

describePeers(['ceph', 'librbd'], 'a random life of a volume of ceph-csi', (_, librbd) => {
  let ceph: CephCluster;
  let client: Librbd;

  beforeAll(async () => {
    ceph = await startCeph();
    client = new Librbd(ceph);
  });

  afterAll(async () => {
    client.close();
    await ceph.stop();
  });

  test.each([
    [34, 'rbd-diff-by-snap-id', librbd.file],
    [16, 'rbd-object-map', undefined],
  ] as const)(
    '%i steps by %s, each backed up and restored byte for byte',
    async (steps, mechanism, libraries) => {
      const life = await CsiLife.begin(ceph, client, mechanism === 'rbd-diff-by-snap-id');
      const conf = ceph.environment.CEPH_CONF;
      const driver = new RbdDriver({ conf, ...(libraries !== undefined && { libraries }) });
      const used = await runLife(life, driver, steps, 2);
      expect(used.get(mechanism)).toBeGreaterThan(steps / 4);
    },
    PATIENCE,
  );
});
