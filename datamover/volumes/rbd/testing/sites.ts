import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { CephCluster } from '../../../../e2e/servers/ceph.ts';
import { run } from '../../../process/spawn.ts';
import type { DriverSite } from '../../driver.suite.ts';
import { formatImageName, parseImageName } from '../image-name.ts';
import { Librbd } from './librbd.ts';

/** A namespace of the test cluster's pool, which nobody else uses. */
export async function rbdSite(ceph: CephCluster): Promise<DriverSite> {
  const namespace = `site-${randomUUID()}`;
  const rbd = async (...args: string[]): Promise<string> =>
    (await run({ file: 'rbd', args, env: ceph.environment })).stdout;
  await rbd('namespace', 'create', `${ceph.pool}/${namespace}`);
  const client = new Librbd(ceph, namespace);
  const place = `${ceph.pool}/${namespace}`;
  let made = 0;
  const next = (): string => `${place}/volume-${made++}`;
  const images = async (): Promise<string[]> =>
    (await rbd('ls', place)).split('\n').filter((name) => name !== '');
  /** Ceph takes who was killed with an image open to write for alive for half a minute more. */
  const unwatched = async (image: string): Promise<void> => {
    const watched = async () => /"watchers":[[{][^\]}]/.test(await rbd('status', '--format', 'json', image));
    while (await watched()) await delay(500);
  };
  return {
    scheme: 'rbd',
    options: { ceph: { conf: ceph.environment.CEPH_CONF } },
    tellsChanges: true,
    resizesTargets: false,
    missing: `${place}/missing@snap`,
    hostile: [
      '--help',
      `${place}/-x`,
      `${place}/a@-b`,
      `${place}/a@b@c`,
      `a`,
      `${place}/a b@c`,
      `${place}/a\n@b`,
    ],
    strangeWish: { volblocksize: 8192 },
    newTarget: next,
    makeVolume: async (bytes, location = next()) => {
      await rbd('create', '--size', `${bytes}B`, '--object-size', '1M', location);
      const { image } = parseImageName(location);
      return {
        location,
        write: async (offset, content) => {
          const open = client.open(image);
          open.write(offset, content);
          open.close();
        },
        snapshot: async (name) => {
          const open = client.open(image);
          open.snap(name);
          open.close();
          return `${location}@${name}`;
        },
      };
    },
    read: async (location) => {
      const { image, snap } = parseImageName(location);
      return client.read(image, snap ?? null);
    },
    list: async () => {
      const lines: string[] = [];
      for (const image of await images()) {
        const name = formatImageName({ pool: ceph.pool, namespace, image });
        const snaps = JSON.parse(await rbd('snap', 'ls', '--all', '--format', 'json', name)) as object[];
        const meta = await rbd('image-meta', 'ls', '--format', 'json', name);
        lines.push(image, ...snaps.map((snap) => `${image} ${JSON.stringify(snap)}`));
        if (meta.trim() !== '' && meta.trim() !== '{}') lines.push(`${image} ${meta}`);
      }
      return lines;
    },
    dispose: async () => {
      client.close();
      for (const image of await images()) {
        await rbd('snap', 'purge', '--no-progress', `${place}/${image}`);
        await unwatched(`${place}/${image}`);
        await rbd('rm', '--no-progress', `${place}/${image}`);
      }
      await rbd('namespace', 'remove', place);
    },
  };
}
