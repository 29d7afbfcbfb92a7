import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, readdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { lockFile } from '../../process/file-lock.ts';

/** A copy of a file as it was at one moment, for as long as it is held. */
export interface HeldCopy {
  readonly path: string;
  release(): Promise<void>;
}

const MARK = '.datamover-copy-';

/**
 * A reflink copy beside the file: the filesystem makes it in one moment and shares the blocks (ioctl_ficlone(2); XFS, Btrfs).
 * Undefined where that is not possible.
 */
export async function holdCopy(file: string): Promise<HeldCopy | undefined> {
  const path = join(dirname(file), `.${basename(file)}${MARK}${randomBytes(4).toString('hex')}`);
  try {
    await copyFile(file, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
  } catch {
    // libuv takes a copy that it began away again.
    return undefined;
  }
  const handle = await lockFile(path);
  if (handle === undefined) return undefined;
  return {
    path,
    release: async () => {
      await unlink(path).catch(() => undefined);
      await handle.close();
    },
  };
}

/** Takes copies of the file away whose process did not live to do it. Gives their paths. */
export async function removeStaleCopies(file: string): Promise<string[]> {
  const beginning = `.${basename(file)}${MARK}`;
  const names = await readdir(dirname(file)).catch(() => []);
  const removed: string[] = [];
  for (const name of names.filter((entry) => entry.startsWith(beginning))) {
    const path = join(dirname(file), name);
    const handle = await lockFile(path);
    if (handle === undefined) continue;
    await unlink(path).then(
      () => removed.push(path),
      () => undefined,
    );
    await handle.close();
  }
  return removed;
}
