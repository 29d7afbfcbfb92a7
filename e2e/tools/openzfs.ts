import { copyFile, mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { installPackages } from './apt.ts';
import { cached } from './cache.ts';
import type { Installed } from './install.ts';
import { buildInitramfs } from './openzfs/initramfs.ts';
import { buildModules } from './openzfs/modules.ts';
import { fetchPackages } from './openzfs/packages.ts';

const RECIPE = join(import.meta.dirname, 'openzfs');
/** Programs of the virtual machine that are called as if they were here. */
const PROXIES = ['zfs', 'zpool', 'zdb', 'zstream'];

/**
 * Real OpenZFS without a module in this machine's kernel: a virtual machine of Debian's kernel, OpenZFS and a small agent that
 * runs commands. Two minutes of two cores the first time, 40 MB in the cache. The modules (CDDL) are built and used here,
 * never handed on.
 */
export async function installOpenZfs(): Promise<Installed> {
  const tools = ['qemu-system-x86', 'gcc', 'make', 'libc6-dev', 'binutils', 'xz-utils', 'libelf1'] as const;
  const qemu = await installPackages(tools);
  const recipe = await recipeFiles();
  const texts = await Promise.all(recipe.map((file) => readFile(join(RECIPE, file), 'utf8')));
  const { folder, version } = await cached('openzfs', [...texts, qemu, process.arch], build);
  return { file: join(folder, 'bin/vm'), version };
}

async function recipeFiles(): Promise<string[]> {
  const all = await readdir(RECIPE, { recursive: true, withFileTypes: true });
  const files = all.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name).slice(RECIPE.length + 1)).sort();
}

/** Fills `folder` with `vmlinuz`, `initramfs` and `bin/` (`vm`, the proxies). */
async function build(folder: string): Promise<string> {
  const work = join(folder, 'work');
  await mkdir(work);
  await mkdir(join(folder, 'bin'));
  const packages = await fetchPackages(work);
  const { version, ...modules } = await buildModules(packages);
  const agent = join(work, 'agent');
  await compile('agent.c', agent, ['-static']);
  await compile('proxy.c', join(folder, 'bin/vm'), []);
  for (const name of PROXIES) await symlink('vm', join(folder, 'bin', name));
  const initramfs = await buildInitramfs(packages, { agent, ...modules, scripts: join(RECIPE, 'vm') });
  await writeFile(join(folder, 'initramfs'), initramfs);
  await copyFile(join(packages.kernel, `boot/vmlinuz-${packages.release}`), join(folder, 'vmlinuz'));
  await rm(work, { recursive: true, force: true });
  return `OpenZFS ${version} on Linux ${packages.release}`;
}

async function compile(source: string, target: string, options: readonly string[]): Promise<void> {
  const args = ['-O2', '-pthread', ...options, '-o', target, join(RECIPE, 'vm', source)];
  await run({ file: 'gcc', args, operation: 'compile with' });
}
