import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ProducerCommand } from '../driver.ts';
import type { RbdConnection } from './command.ts';

/** Scripts that call librbd: in processes of their own, since a failed assertion of Ceph's ends the whole process. */
export type LibraryScript = 'session-main';

/** A folder with Ceph's client libraries, for all who do not name one. */
export const LIBRARIES_VARIABLE = 'DATAMOVER_CEPH_LIBRARIES';

const TRIPLETS = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const;
const LOADERS = ['lib64/ld-linux-x86-64.so.2', 'lib/ld-linux-aarch64.so.1'];

/**
 * Runs a script with the librbd of the machine or, where `libraries` is a tree of unpacked Debian packages, with the one in it. A
 * tree that has a libc too is for a newer one than the machine's: then its loader starts Node.
 */
export function libraryCommand(
  { libraries = process.env[LIBRARIES_VARIABLE] }: RbdConnection,
  script: LibraryScript,
  args: readonly string[],
): ProducerCommand {
  const path = fileURLToPath(new URL(`./${script}.js`, import.meta.url));
  if (libraries === undefined || libraries === '') return { file: process.execPath, args: [path, ...args] };
  const triplet = TRIPLETS[process.arch as keyof typeof TRIPLETS];
  const folders = [`usr/lib/${triplet}`, `usr/lib/${triplet}/ceph`, `lib/${triplet}`].map((folder) =>
    join(libraries, folder),
  );
  const loader = [...LOADERS, ...LOADERS.map((name) => `usr/${name}`)]
    .map((name) => join(libraries, name))
    .find((candidate) => existsSync(candidate));
  const search = folders.join(':');
  return loader === undefined
    ? { file: '/usr/bin/env', args: [`LD_LIBRARY_PATH=${search}`, process.execPath, path, ...args] }
    : { file: loader, args: ['--library-path', search, process.execPath, path, ...args] };
}
