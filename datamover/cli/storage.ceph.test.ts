import { startCeph } from '../../e2e/servers/ceph.ts';
import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { rbdSite } from '../volumes/rbd/testing/sites.ts';
import { storageSuite } from './storage.suite.ts';

describePeer('ceph', 'the command and Ceph', () => {
  storageSuite('RBD images', async () => rbdSite(await startCeph()), {
    drivesProgram: true,
    letsGoItself: true,
  });
});
