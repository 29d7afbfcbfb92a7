import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startCeph, type CephCluster } from '../../../e2e/servers/ceph.ts';
import { describePeers } from '../../../e2e/servers/describe-peers.ts';
import { RbdDriver } from './driver.ts';
import { Librbd } from './testing/librbd.ts';
import { PlainLife } from './testing/lives.ts';
import { runLife } from './testing/run-life.ts';

const STEPS = 50;
const PATIENCE = 3_600_000;

describePeers(['ceph'], 'a random life of an image', () => {
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

  test(
    `${STEPS} steps, each backed up and restored byte for byte`,
    async () => {
      const life = await new PlainLife(ceph, client).begin();
      const driver = new RbdDriver({ conf: ceph.environment.CEPH_CONF });
      const used = await runLife(life, driver, STEPS, 1);
      expect(used.get('rbd-export-diff')).toBeGreaterThan(STEPS / 4);
      expect(used.get('allocated-extents')).toBeGreaterThan(0);
    },
    PATIENCE,
  );
});
