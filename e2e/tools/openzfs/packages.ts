import { join } from 'node:path';
import { debianArchive, securityArchive } from '../apt.ts';
import { PrivateApt, unpack } from '../private-apt.ts';

/** The unpacked packages that a virtual machine is made of, each kind in a folder of its own. */
export interface Packages {
  /** The kernel's release, such as `6.1.0-56-cloud-amd64`. */
  readonly release: string;
  /** Kernel, modules and headers. */
  readonly kernel: string;
  /** OpenZFS: the module's sources, programs and libraries. */
  readonly zfs: string;
  /** Everything else that runs in the machine. */
  readonly system: string;
}

const SUITE = 'bookworm';
/** OpenZFS 2.3; bookworm itself has 2.1. */
const ZFS_SUITE = `${SUITE}-backports`;
const ZFS = [
  'zfs-dkms',
  'zfsutils-linux',
  'libzfs6linux',
  'libzpool6linux',
  'libnvpair3linux',
  'libuutil3linux',
];
const SYSTEM = [
  ...[
    'busybox-static',
    'e2fsprogs',
    'attr',
    'libc6',
    'libgcc-s1',
    'libblkid1',
    'libuuid1',
    'libudev1',
    'libssl3',
  ],
  ...[
    'zlib1g',
    'libtirpc3',
    'libgssapi-krb5-2',
    'libkrb5-3',
    'libk5crypto3',
    'libkrb5support0',
    'libcom-err2',
  ],
  ...['libkeyutils1', 'libext2fs2', 'libss2', 'libattr1'],
];

/** Fetches 50 MB of Debian's packages and unpacks them below `folder`; nothing is installed. */
export async function fetchPackages(folder: string): Promise<Packages> {
  const uri = await debianArchive();
  const apt = await PrivateApt.open(join(folder, 'apt'), [
    { uri, suite: SUITE, components: 'main' },
    { uri: await securityArchive(), suite: `${SUITE}-security`, components: 'main' },
    { uri, suite: ZFS_SUITE, components: 'contrib' },
  ]);
  // The mirrors keep only the newest builds of a kernel, so its name is looked up.
  const depends = /^Depends: linux-image-([^ ,]+)/m.exec(await apt.show('linux-image-cloud-amd64'));
  const release = depends?.[1];
  if (release === undefined) throw new Error('linux-image-cloud-amd64 names no kernel');
  const common = release.replace(/-cloud-amd64$/, '-common');
  const fetch = (names: readonly string[], kind: string): Promise<string[]> =>
    apt.download(names, join(folder, 'packages', kind));
  const kernel = await fetch(
    [
      `linux-image-${release}-unsigned`,
      `linux-headers-${release}`,
      `linux-headers-${common}`,
      `linux-kbuild-${/^\d+\.\d+/.exec(release)?.[0] ?? ''}`,
    ],
    'kernel',
  );
  const zfs = await fetch(
    ZFS.map((name) => `${name}/${ZFS_SUITE}`),
    'zfs',
  );
  const system = await fetch(SYSTEM, 'system');
  const packages = {
    kernel: join(folder, 'kernel'),
    zfs: join(folder, 'zfs'),
    system: join(folder, 'system'),
  };
  await unpack(kernel, packages.kernel);
  await unpack(zfs, packages.zfs);
  await unpack(system, packages.system);
  return { release, ...packages };
}
