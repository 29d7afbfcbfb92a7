import { expect, jest, test } from '@jest/globals';
import { noise, prose } from '../../datamover/repository/testing/bytes.ts';
import { writeImage } from '../../datamover/transfer/testing/volumes.ts';
import { describePeers } from '../servers/describe-peers.ts';
import { startRgw } from '../servers/rgw.ts';
import { Crashes } from './crash.ts';
import { hashOf, Site, VOLUME } from './site.ts';

jest.setTimeout(300_000);

const MIB = 1 << 20;

describePeers(['ceph', 'restic-current'], 'a repository on a RADOS Gateway', (_, restic) => {
  test('F-35 F-40 restic checks and dumps what we write there, and we restore it', async () => {
    const site = await Site.inBucket('gateway', await startRgw());
    try {
      await site.init();
      const image = await writeImage(site.path('image'), 70 * MIB + 5, [
        { offset: 0, content: noise('gateway', 30 * MIB) },
        { offset: 50 * MIB, content: prose('gateway', 5 * MIB) },
      ]);
      const first = await hashOf(image);
      const { snapshot_id } = await site.backUp(image);
      await writeImage(image, 70 * MIB + 5, [{ offset: 20 * MIB, content: noise('later', 15 * MIB) }]);
      await site.backUp(image);
      await site.peer(restic, ['check', '--read-data']);
      expect(await site.peerHash(restic, ['dump', snapshot_id, '/image/000000/data'])).toBe(first);
      await site.datamover(['forget', '--keep-last', '1', '--prune', '--max-unused', '0']);
      await site.peer(restic, ['check', '--read-data']);
      expect(await site.json(['snapshots', '--volume', VOLUME])).toHaveLength(1);
      expect(await site.restoredHash('latest')).toBe(await hashOf(image));
    } finally {
      await site.remove();
    }
  });

  test('a few kills lose nothing there either', async () => {
    const site = await Site.inBucket('gateway-crash', await startRgw());
    try {
      const crashes = new Crashes(site, [restic], 20260501);
      await crashes.prepare();
      for (let cycle = 0; cycle < 3; cycle++) await crashes.cycle(cycle);
      expect(await crashes.finish()).toBeGreaterThan(0);
      expect(crashes.hits).toBeGreaterThan(0);
    } finally {
      await site.remove();
    }
  });
});
