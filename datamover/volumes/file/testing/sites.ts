import { mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../../process/spawn.ts';
import type { DriverSite, SiteVolume } from '../../driver.suite.ts';

/** Image files in a folder. */
export async function fileSite(folder: string, dispose: () => Promise<void>): Promise<DriverSite> {
  let made = 0;
  const next = (): string => join(folder, `volume-${made++}`);
  await mkdir(join(folder, 'a-folder'), { recursive: true });
  return {
    scheme: 'file',
    options: {},
    tellsChanges: false,
    resizesTargets: true,
    missing: join(folder, 'missing'),
    hostile: [join(folder, 'a-folder'), '/dev/null', `${folder}/a\0b`],
    strangeWish: { volblocksize: 8192 },
    newTarget: next,
    makeVolume: (bytes, location = next()) => makeFile(location, bytes),
    read: (location) => readFile(location),
    list: () => readdir(folder),
    dispose,
  };
}

/** Block devices over such files. */
export async function deviceSite(): Promise<DriverSite> {
  const folder = await temporary();
  const devices: string[] = [];
  const site = await fileSite(folder, async () => {
    for (const device of devices) await run({ file: 'losetup', args: ['--detach', device] });
    await rm(folder, { recursive: true });
  });
  return {
    ...site,
    resizesTargets: false,
    missing: '/dev/there-is-no-such-device',
    makeVolume: async (bytes) => {
      const { location: file } = await site.makeVolume(bytes);
      const { stdout } = await run({ file: 'losetup', args: ['--find', '--show', file] });
      const location = stdout.trim();
      devices.push(location);
      return volumeAt(location);
    },
  };
}

/** A folder on a filesystem of its own that has reflinks. */
export async function reflinkSite(): Promise<DriverSite> {
  const folder = await temporary();
  const [disk, mount] = [join(folder, 'disk'), join(folder, 'mount')];
  const file = await open(disk, 'w');
  await file.truncate(2 ** 30);
  await file.close();
  await mkdir(mount);
  await run({ file: 'mkfs.xfs', args: ['-q', '-m', 'reflink=1', disk] });
  await run({ file: 'mount', args: ['-o', 'loop', disk, mount] });
  return fileSite(mount, async () => {
    await run({ file: 'umount', args: [mount] });
    await rm(folder, { recursive: true });
  });
}

/** Whether a site opens here: mounts and filesystems are a matter of the machine and of privileges. */
export async function opens(site: () => Promise<DriverSite>): Promise<boolean> {
  try {
    const opened = await site();
    await opened.makeVolume(1 << 20);
    await opened.dispose();
    return true;
  } catch {
    return false;
  }
}

export function temporary(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'datamover-site-'));
}

async function makeFile(location: string, bytes: number): Promise<SiteVolume> {
  const file = await open(location, 'wx');
  await file.truncate(bytes);
  await file.close();
  return volumeAt(location);
}

function volumeAt(location: string): SiteVolume {
  return {
    location,
    write: async (offset, bytes) => {
      const file = await open(location, 'r+');
      await file.write(bytes, 0, bytes.length, offset);
      await file.sync();
      await file.close();
    },
    snapshot: async () => location,
  };
}
