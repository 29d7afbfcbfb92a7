import { expect, test } from '@jest/globals';
import { describePeers } from '../../../e2e/servers/describe-peers.ts';
import { useCeph } from './testing/cluster.ts';
import { CsiLife } from './testing/lives.ts';
import { runLife } from './testing/run-life.ts';

const PATIENCE = 1_200_000;

describePeers(['ceph', 'librbd'], 'a random life of a volume of ceph-csi', (_, librbd) => {
  const cluster = useCeph();

  test.each([
    [34, 'rbd-diff-by-snap-id', librbd.file],
    [16, 'rbd-object-map', undefined],
  ] as const)(
    '%i steps by %s, each backed up and restored byte for byte, also when others were deleted',
    async (steps, mechanism, libraries) => {
      const byId = mechanism === 'rbd-diff-by-snap-id';
      const life = await CsiLife.begin(cluster.ceph, cluster.client, byId);
      const used = await runLife(life, cluster.driver(libraries), steps, 2);
      expect(used.get(mechanism)).toBeGreaterThan(steps / 4);
    },
    PATIENCE,
  );
});
