import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { DatamoverError } from '../errors.ts';
import { lockFile } from '../process/file-lock.ts';

const PREFIX = 'agent-';
const LOCK = 'lock';

/**
 * This process's own folder below `--scratch`, for what transfers need as files: authorities, keyrings, sockets. It is locked for as
 * long as the process lives, so that a successor knows what it may take away.
 */
export class Scratch {
  readonly folder: string;
  readonly #lock: FileHandle;

  private constructor(folder: string, lock: FileHandle) {
    this.folder = folder;
    this.#lock = lock;
  }

  static async open(root: string): Promise<Scratch> {
    const folder = join(root, `${PREFIX}${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(root, { recursive: true });
      await mkdir(folder, { mode: 0o700 });
      await writeFile(join(folder, LOCK), '', { mode: 0o600 });
    } catch (cause) {
      throw unusable(root, cause);
    }
    const lock = await lockFile(join(folder, LOCK));
    if (lock === undefined) throw unusable(root, 'its files cannot be locked');
    return new Scratch(folder, lock);
  }

  /** Removes what agents that were killed left below the same root, secrets among it. Gives their folders' names. */
  async sweep(root: string): Promise<string[]> {
    const removed: string[] = [];
    for (const name of await readdir(root)) {
      const folder = join(root, name);
      if (!name.startsWith(PREFIX) || folder === this.folder) continue;
      const lock = await lockFile(join(folder, LOCK));
      // One without the file is being made or removed at this moment, or its maker died in between: it holds nothing yet.
      if (lock === undefined) continue;
      await rm(folder, { recursive: true, force: true });
      await lock.close();
      removed.push(name);
    }
    return removed;
  }

  /** An empty folder for one transfer that nobody but this user may read. */
  async make(transferID: string): Promise<string> {
    const folder = join(this.folder, transferID);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
    return folder;
  }

  async remove(transferID: string): Promise<void> {
    await rm(join(this.folder, transferID), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
    await this.#lock.close();
  }
}

function unusable(root: string, cause: unknown): DatamoverError {
  return new DatamoverError({
    operation: 'use the scratch folder',
    subject: root,
    cause,
    hint: 'give --scratch a folder that this user can write',
  });
}
