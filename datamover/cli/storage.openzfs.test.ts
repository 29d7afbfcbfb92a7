import { describePeer } from '../../e2e/servers/describe-peers.ts';
import { startOpenZfs } from '../../e2e/servers/openzfs.ts';
import { zfsSite } from '../volumes/zfs/testing/sites.ts';
import { storageSuite } from './storage.suite.ts';

describePeer('openzfs', 'the command and OpenZFS', () => {
  storageSuite('zvols', async () => zfsSite(await startOpenZfs()), {
    drivesProgram: true,
    devicesElsewhere: true,
  });
});
