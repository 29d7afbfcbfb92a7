import { chmodSync, copyFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';

/**
 * Copies the executable into a directory: what the plugin image's entrypoint does with Velero's plugin volume, for the image has
 * no shell and no `cp`. Gives the path of the copy.
 */
export function install(executable: string, directory: string): string {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new Error(`install into ${directory === '' ? 'nowhere' : directory}: there is no such directory`);
  }
  const target = join(directory, basename(executable));
  const draft = `${target}.${process.pid}`;
  try {
    copyFileSync(executable, draft);
    chmodSync(draft, 0o755);
    renameSync(draft, target);
  } finally {
    rmSync(draft, { force: true });
  }
  return target;
}
