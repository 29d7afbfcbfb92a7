import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, open, readdir, stat, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import koffi from 'koffi';

/** A copy of a file as it was at one moment, for as long as it is held. */
export interface HeldCopy {
  readonly path: string;
  release(): Promise<void>;
}

/** flock(2): alone, or at once not at all. */
const EXCLUSIVE_OR_REFUSED = 2 | 4;
const MARK = '.datamover-copy-';

type Lock = (fd: number, operation: number) => number;

let flock: Lock | undefined;

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
  // The lock tells the living from the dead, whatever namespace their processes are in: the kernel lifts it when they end.
  const handle = await lockCopy(path);
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
    const handle = await lockCopy(path);
    if (handle === undefined) continue;
    await unlink(path).then(
      () => removed.push(path),
      () => undefined,
    );
    await handle.close();
  }
  return removed;
}

/** Undefined where somebody else has it, or took it away before it was ours. */
async function lockCopy(path: string): Promise<FileHandle | undefined> {
  const handle = await open(path, 'r').catch(() => undefined);
  if (handle === undefined) return undefined;
  flock ??= koffi.load(null).func('int flock(int fd, int operation)') as unknown as Lock;
  if (flock(handle.fd, EXCLUSIVE_OR_REFUSED) === 0) {
    const [held, there] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
    if (held.ino === there?.ino) return handle;
  }
  await handle.close();
  return undefined;
}
