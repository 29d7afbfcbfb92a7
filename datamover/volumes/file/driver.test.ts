import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { driverSuite } from '../driver.suite.ts';
import { readFeed } from '../testing/feed.ts';
import { FileDriver } from './driver.ts';
import { deviceSite, fileSite, opens, reflinkSite, temporary } from './testing/sites.ts';

driverSuite('an image file', async () => {
  const folder = await temporary();
  return fileSite(folder, () => rm(folder, { recursive: true }));
});

describePeer('kernel', 'the file driver and devices', () => {
  driverSuite('a block device', deviceSite, { fixed: true });
});

// A matter of the kernel's filesystems, not of what was installed: nothing to count as skipped.
if (await opens(reflinkSite)) {
  driverSuite('an image file with reflinks', reflinkSite);

  describe('where the filesystem has reflinks', () => {
    test('a file is read as it was when it was held', async () => {
      const site = await reflinkSite();
      try {
        const driver = new FileDriver();
        const volume = await site.makeVolume(4 << 20);
        await volume.write(0, randomBytes(1 << 20));
        const before = await site.read(volume.location);
        const plan = await driver.planRead(await driver.identify(volume.location), { bases: [] });
        const held = await driver.hold(plan);
        await volume.write(12345, randomBytes(1 << 20));
        const { content } = await readFeed(plan, held.feed, 'a'.repeat(64));
        await held.release();
        expect(content.equals(before)).toBe(true);
      } finally {
        await site.dispose();
      }
    });
  });
}
