import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

import { isErrno } from '../../errors.ts';
import { FOLDERS, packFolders } from '../layout.ts';

/**
 * A file is written under a temporary name `<name>-tmp-<place>-<pid>-<n>` in its own folder and then renamed. A killed process
 * leaves such a file behind. Listings ignore it (and so do restic's), and the next process that writes removes it: at once if the
 * writer is known to be dead, else when it is a day old.
 */
const TEMPORARY = /-tmp-([0-9a-f]{12})-(\d+)-\d+$/;
const STALE_AFTER_MS = 24 * 60 * 60 * 1000;

let place: Promise<string> | undefined;
let counter = 0;

/**
 * Twelve hex digits for "where process numbers mean the same": this boot of this machine and this PID namespace. Two containers with
 * one host name and one shared folder must not take each other's processes for dead.
 */
function here(): Promise<string> {
  place ??= (async () => {
    const parts = await Promise.all([
      readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => `no boot id ${process.pid}`),
      readlink('/proc/self/ns/pid').catch(() => `no namespace ${process.pid}`),
    ]);
    return createHash('sha256')
      .update([hostname(), ...parts].join('\n'))
      .digest('hex')
      .slice(0, 12);
  })();
  return place;
}

/** A new temporary name beside `path`. */
export async function temporaryName(path: string): Promise<string> {
  const number = counter++;
  return `${path}-tmp-${await here()}-${process.pid}-${number}`;
}

/** Removes what dead writers left in the folders of the repository at `root`. 261 directory reads: a few milliseconds. */
export async function removeLeftovers(root: string): Promise<void> {
  const folders = [
    ...FOLDERS.filter((type) => type !== 'data'),
    ...packFolders().map((name) => join('data', name)),
    '.',
  ];
  const ours = await here();
  for (const folder of folders) {
    for (const name of await namesIn(join(root, folder))) {
      const match = TEMPORARY.exec(name);
      if (match === null) continue;
      const path = join(root, folder, name);
      const dead = match[1] === ours && !isAlive(Number(match[2]));
      if (dead || (await ageOf(path)) > STALE_AFTER_MS) await removeIfAllowed(path);
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    // A folder that does not exist or may not be read holds nothing for us to tidy; the work itself will say so if it matters.
    if (isErrno(error, 'ENOENT') || isErrno(error, 'EACCES')) return [];
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrno(error, 'ESRCH');
  }
}

/** Milliseconds since the last write; 0 if somebody else has just removed it. */
async function ageOf(path: string): Promise<number> {
  try {
    return Date.now() - (await lstat(path)).mtimeMs;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0;
    throw error;
  }
}

async function removeIfAllowed(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    // Somebody else was faster, or it belongs to another user, who will remove it with the next write.
    if (!['ENOENT', 'EACCES', 'EPERM'].some((code) => isErrno(error, code))) throw error;
  }
}
