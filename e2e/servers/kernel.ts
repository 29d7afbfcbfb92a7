import { mkdir } from 'node:fs/promises';
import { run } from '../../datamover/process/spawn.ts';

/** What a test borrows from the kernel: give it back whatever happens, nothing else does. */
export interface Borrowed {
  readonly path: string;
  release(): Promise<void>;
}

/** A block device (`/dev/loopN`) over a file. */
export async function attachLoop(
  file: string,
  { readOnly = false }: { readonly readOnly?: boolean } = {},
): Promise<Borrowed> {
  const mode = readOnly ? ['--read-only'] : [];
  const { stdout } = await run({ file: 'losetup', args: [...mode, '--find', '--show', file] });
  const path = stdout.trim();
  return {
    path,
    release: async () => {
      await run({ file: 'losetup', args: ['--detach', path] });
    },
  };
}

/** Mounts a filesystem's device. */
export async function mount(device: string, folder: string): Promise<Borrowed> {
  return mounted([device, folder], folder);
}

/** A disk of this size, in memory. */
export async function mountSmallDisk(folder: string, mebibytes: number): Promise<Borrowed> {
  return mounted(['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder], folder);
}

/** Gives a small disk another size. */
export async function resizeSmallDisk(folder: string, mebibytes: number): Promise<void> {
  await run({ file: 'mount', args: ['-o', `remount,size=${mebibytes}m`, folder] });
}

async function mounted(args: readonly string[], folder: string): Promise<Borrowed> {
  await mkdir(folder, { recursive: true });
  await run({ file: 'mount', args });
  return {
    path: folder,
    release: async () => {
      await run({ file: 'umount', args: [folder] });
    },
  };
}
