import { expect, test } from '@jest/globals';
import { describePeers } from '../../../e2e/servers/describe-peers.ts';
import { useCeph } from './testing/cluster.ts';
import { PlainLife } from './testing/lives.ts';
import { runLife } from './testing/run-life.ts';

/** With those of workload-csi 200. */
const STEPS = 150;
const PATIENCE = 1_200_000;

describePeers(['ceph'], 'a random life of an image', () => {
  const cluster = useCeph();

  test(
    `${STEPS} steps, each backed up and restored byte for byte, also when others were deleted`,
    async () => {
      const life = await new PlainLife(cluster.ceph, cluster.client).begin();
      const used = await runLife(life, cluster.driver(), STEPS, 1);
      expect(used.get('piped')).toBeGreaterThan(STEPS / 8);
      expect(used.get('rbd-export-diff')).toBeGreaterThan(STEPS / 3);
      expect(used.get('allocated-extents')).toBeGreaterThan(0);
    },
    PATIENCE,
  );
});
