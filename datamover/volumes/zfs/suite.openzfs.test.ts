import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { startOpenZfs } from '../../../e2e/servers/openzfs.ts';
import { driverSuite } from '../driver.suite.ts';
import { zfsSite } from './testing/sites.ts';

describePeer('openzfs', 'the ZFS driver', () => {
  driverSuite('a volume of a real pool', async () => zfsSite(await startOpenZfs()));
});
