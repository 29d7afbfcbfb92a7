import { startCeph } from '../../../e2e/servers/ceph.ts';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { driverSuite } from '../driver.suite.ts';
import { rbdSite } from './testing/sites.ts';

describePeer('ceph', 'the RBD driver', () => {
  driverSuite('an image of a real cluster', async () => rbdSite(await startCeph()));
});
