import { randomBytes } from 'node:crypto';
import { mkdtemp, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { MemoryStore } from '../../store/memory.ts';
import { backUp, newRepository } from '../../transfer/testing/volumes.ts';
import type { HeldRead } from '../driver.ts';
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

describe('where the filesystem has no reflinks', () => {
  /** On tmpfs, which never has them. */
  const inMemory = async (job: (path: string) => Promise<void>): Promise<void> => {
    const folder = await mkdtemp('/dev/shm/datamover-file-');
    const path = join(folder, 'disk');
    try {
      await writeFile(path, randomBytes(1 << 20));
      // Some kernels' clocks for files tick a few milliseconds apart.
      await utimes(path, 1, 1);
      await job(path);
    } finally {
      await rm(folder, { recursive: true });
    }
  };

  test.each<[string, (path: string) => Promise<void>, RegExp | undefined]>([
    ['is left alone', async () => undefined, undefined],
    ['is written to', (path) => writeFile(path, 'x', { flag: 'r+' }), /it was written to/],
    ['grows', (path) => truncate(path, 3 << 20), /size went from 1048576 to 3145728/],
    [
      'gets its old times back',
      async (path) => {
        await writeFile(path, 'x', { flag: 'r+' });
        await utimes(path, 1, 1);
      },
      /change time moved/,
    ],
    ['is replaced', (path) => writeFile(`${path}2`, 'x').then(() => rename(`${path}2`, path)), undefined],
  ])('a file that %s while it is read', async (_, meanwhile, said) => {
    await inMemory(async (path) => {
      /** Somebody is at the file as soon as it is held. */
      class Disturbed extends FileDriver {
        override async hold(...args: Parameters<FileDriver['hold']>): Promise<HeldRead> {
          const held = await super.hold(...args);
          await meanwhile(path);
          return held;
        }
      }
      const repository = await newRepository(new MemoryStore());
      const source = { kind: 'driver', driver: new Disturbed(), location: path } as const;
      const { warnings } = await backUp(repository, source);
      await repository.close();
      expect(warnings).toEqual(said === undefined ? [] : [expect.stringMatching(said)]);
    });
  });
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
