import { readFile, readdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from '../../../datamover/process/spawn.ts';
import type { Packages } from './packages.ts';

/** Compiles OpenZFS' kernel modules against the headers of the packages: some four minutes of processor time. */
export async function buildModules(
  packages: Packages,
): Promise<{ spl: string; zfs: string; version: string }> {
  const sources = join(packages.kernel, 'usr/src');
  const headers = join(sources, `linux-headers-${packages.release}`);
  const common = join(sources, `linux-headers-${packages.release.replace(/-cloud-amd64$/, '-common')}`);
  const makefile = join(headers, 'Makefile');
  const text = await readFile(makefile, 'utf8');
  await writeFile(makefile, text.replaceAll('/usr/src/', `${sources}/`));

  const folder = (await readdir(join(packages.zfs, 'usr/src'))).find((name) => name.startsWith('zfs-'));
  if (folder === undefined) throw new Error('zfs-dkms brought no sources');
  const cwd = join(packages.zfs, 'usr/src', folder);
  const nice = async (...args: string[]): Promise<void> => {
    await run({ file: 'nice', args, cwd, operation: 'build OpenZFS with', subject: args[0] ?? '' });
  };
  await nice(
    './configure',
    ...['--quiet', '--disable-dependency-tracking', '--prefix=/usr', '--with-config=kernel'],
    ...[`--with-linux=${common}`, `--with-linux-obj=${headers}`],
  );
  await nice('make', '-s', `-j${availableParallelism()}`);
  const [spl, zfs] = [join(cwd, 'module/spl.ko'), join(cwd, 'module/zfs.ko')];
  for (const module of [spl, zfs]) await run({ file: 'strip', args: ['--strip-debug', module] });
  return { spl, zfs, version: folder.replace('zfs-', '') };
}
