import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { debianArchive } from './apt.ts';
import { cached } from './cache.ts';
import type { Installed } from './install.ts';
import { PrivateApt, unpack } from './private-apt.ts';

/** Debian 13's librbd (18.2.7) and all that it needs, its libc too: newer than Debian 12's cluster and libc. */
const PACKAGES = [
  ...[
    'librbd1',
    'librados2',
    'libcryptsetup12',
    'libfmt10',
    'libssl3t64',
    'libstdc++6',
    'libgcc-s1',
    'libc6',
  ],
  ...['libblkid1', 'libboost-iostreams1.83.0', 'libboost-thread1.83.0', 'libibverbs1', 'librdmacm1t64'],
  ...[
    'libudev1',
    'libcap2',
    'libargon2-1',
    'libdevmapper1.02.1',
    'libselinux1',
    'libpcre2-8-0',
    'libjson-c5',
  ],
  ...['libuuid1', 'libnl-3-200', 'libnl-route-3-200', 'zlib1g', 'libbz2-1.0', 'liblzma5', 'libzstd1'],
] as const;
const SUITE = 'trixie';

/** A librbd that tells changes by the ids of snaps, unpacked beside the machine's own. Some 20 MB, 20 s. */
export async function installLibrbd(): Promise<Installed> {
  const { folder, version } = await cached('librbd', [SUITE, ...PACKAGES, process.arch], async (tree) => {
    const work = join(tree, 'work');
    const source = { uri: await debianArchive(), suite: SUITE, components: 'main' };
    const apt = await PrivateApt.open(work, [source]);
    const control = await apt.show('librbd1');
    await unpack(await apt.download(PACKAGES), tree);
    await rm(work, { recursive: true });
    for (const folder of ['usr/share', 'etc', 'var'])
      await rm(join(tree, folder), { recursive: true, force: true });
    return /^Version: (.*)$/m.exec(control)?.[1] ?? 'unknown';
  });
  return { file: folder, version };
}
