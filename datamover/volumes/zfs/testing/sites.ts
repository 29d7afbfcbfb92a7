import { randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import type { OpenZfs } from '../../../../e2e/servers/openzfs.ts';
import { start } from '../../../process/spawn.ts';
import type { DriverSite, SiteVolume } from '../../driver.suite.ts';
import { useZfs } from './sending.ts';
import { VmDevices } from './vm-devices.ts';

/** A dataset on real OpenZFS for the suite of drivers. */
export async function zfsSite(zfs: OpenZfs): Promise<DriverSite> {
  useZfs(zfs);
  const devices = await VmDevices.start(zfs);
  const home = `${zfs.pool}/suite-${randomUUID().slice(0, 8)}`;
  // Snapshots of the suite's volumes can be read past the driver.
  await zfs.zfs('create', '-o', 'snapdev=visible', home);
  let count = 0;

  const volumeAt = (location: string, bytes: number): SiteVolume => ({
    location,
    write: async (offset, content) => {
      const device = await devices.open(await devices.appear(location), bytes, false);
      await device.write(offset, content);
      await device.finish();
      await device.close();
    },
    snapshot: async (name) => {
      await zfs.zfs('snapshot', `${location}@${name}`);
      return `${location}@${name}`;
    },
  });

  return {
    scheme: 'zfs',
    options: { zfs: { devices } },
    tellsChanges: true,
    resizesTargets: false,
    missing: `${home}/nothing@one`,
    hostile: [
      '',
      '-o',
      '-tank/x@y',
      `${home}/a b@c`,
      `${home}/../x@y`,
      `${home}/x@y@z`,
      '/dev/zvol/x@y',
      'x#y@z',
    ],
    strangeWish: { objectBytes: 1 << 22 },
    newTarget: () => `${home}/new${count++}`,
    makeVolume: async (bytes, location = `${home}/made${count++}`) => {
      await zfs.zfs('create', '-s', '-V', String(bytes), location);
      return volumeAt(location, bytes);
    },
    read: async (location) => {
      const args = ['cat', await devices.appear(location)];
      const reading = await start({ file: 'vm', args, env: zfs.environment });
      const content = await buffer(reading.stdout);
      await reading.finished;
      return content;
    },
    list: async () => {
      const names = (await zfs.zfs('list', '-Ho', 'name', '-t', 'all', '-r', home)).trim().split('\n');
      const snapshots = names.filter((name) => name.includes('@'));
      const holds = snapshots.length === 0 ? '' : await zfs.zfs('holds', '-H', ...snapshots);
      return [...names, ...holds.split('\n').filter((line) => line !== '')];
    },
    dispose: async () => {
      await devices.stop();
      await zfs.zfs('destroy', '-R', home);
      await zfs.stop();
    },
  };
}
