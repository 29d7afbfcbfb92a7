import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { run } from '../../../datamover/process/spawn.ts';
import { cpio, type Entry } from './cpio.ts';
import type { Packages } from './packages.ts';

/** In the order in which they are loaded. */
const BOOT_MODULES = [
  ...['virtio_ring', 'virtio', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci', 'failover'],
  ...['net_failover', 'virtio_net', 'virtio_blk'],
];
const SHARE_MODULES = ['fuse', 'virtiofs'];
const FOLDERS = [
  ...['bin', 'sbin', 'usr', 'usr/bin', 'usr/sbin', 'proc', 'sys', 'dev', 'etc', 'modules', 'lib', 'lib/udev'],
  ...['lib/x86_64-linux-gnu', 'lib64', 'tmp', 'run', 'root', 'host', 'var'],
];
const LIBRARIES = 'lib/x86_64-linux-gnu';
const LOADER = 'lib64/ld-linux-x86-64.so.2';

/** What the build made for the machine, as paths. */
export interface Made {
  readonly agent: string;
  readonly spl: string;
  readonly zfs: string;
  /** The folder with `init` and `zvol-links`. */
  readonly scripts: string;
}

/** The first (and only) root directory of the virtual machine. */
export async function buildInitramfs(packages: Packages, made: Made): Promise<Buffer> {
  const { zfs, system } = packages;
  const programs = new Map([
    ...['zfs', 'zpool', 'zdb', 'zstream', 'mount.zfs', 'zhack'].map((name) => at(`sbin/${name}`, zfs)),
    ...['mke2fs', 'e2fsck'].map((name) => at(`sbin/${name}`, system)),
    ...['setfattr', 'getfattr'].map((name) => at(`usr/bin/${name}`, system)),
    at('lib/udev/zvol_id', zfs),
  ]);
  const files = new Map([
    ...programs,
    ...(await librariesOf([...programs.values()], packages)),
    [LOADER, join(system, LOADER)],
    ['bin/busybox', firstThere('busybox', [join(system, 'bin'), join(system, 'usr/bin')])],
    ['bin/agent', made.agent],
    ['bin/zvol-links', join(made.scripts, 'zvol-links')],
    ['init', join(made.scripts, 'init')],
    ['modules/spl.ko', made.spl],
    ['modules/zfs.ko', made.zfs],
  ]);
  const entries: Entry[] = FOLDERS.map((path) => ({ path, kind: 'folder' }));
  for (const [path, file] of files) entries.push({ path, kind: 'file', bytes: await readFile(file) });
  entries.push(
    { path: 'sbin/mkfs.ext4', kind: 'link', target: 'mke2fs' },
    // The kernel calls it to mount .zfs/snapshot/NAME.
    { path: 'usr/bin/env', kind: 'link', target: '/bin/busybox' },
    ...(await kernelModules(packages)),
  );
  return cpio(entries);
}

function at(path: string, root: string): [string, string] {
  return [path, join(root, path)];
}

function firstThere(name: string, folders: readonly string[]): string {
  const found = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${name} is in none of the packages`);
  return found;
}

/** The shared libraries that these programs need, and those that they need, from the packages alone. */
async function librariesOf(
  programs: readonly string[],
  { zfs, system }: Packages,
): Promise<Map<string, string>> {
  const folders = [zfs, system].flatMap((root) => [join(root, LIBRARIES), join(root, 'usr', LIBRARIES)]);
  // Threads that end load libgcc_s without anybody's header saying so.
  const found = new Map([at(`${LIBRARIES}/libgcc_s.so.1`, system)]);
  const open = [...programs, ...found.values()];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    const { stdout } = await run({ file: 'objdump', args: ['-p', file] });
    for (const [, name = ''] of stdout.matchAll(/^ *NEEDED +(\S+)$/gm)) {
      const path = `${LIBRARIES}/${name}`;
      if (found.has(path) || name === basename(LOADER)) continue;
      const library = firstThere(name, folders);
      found.set(path, library);
      open.push(library);
    }
  }
  return found;
}

/** The kernel's own modules that are there (some are built in), and the order in which `init` loads them. */
async function kernelModules({ kernel, release }: Packages): Promise<Entry[]> {
  const root = join(kernel, 'lib/modules', release, 'kernel');
  const all = await readdir(root, { recursive: true });
  const there = (name: string): string | undefined => all.find((file) => basename(file) === `${name}.ko`);
  const entries: Entry[] = [];
  for (const name of [...BOOT_MODULES, ...SHARE_MODULES]) {
    const file = there(name);
    if (file === undefined) continue;
    const path = join(root, file);
    await run({ file: 'strip', args: ['--strip-debug', path] });
    entries.push({ path: `modules/${name}.ko`, kind: 'file', bytes: await readFile(path) });
  }
  const order = BOOT_MODULES.filter((name) => there(name) !== undefined).map((name) => `${name}\n`);
  return [...entries, { path: 'modules/order', kind: 'file', bytes: Buffer.from(order.join('')) }];
}
