import { lstat, mkdir, open, readdir, rename, unlink, type FileHandle as OpenFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { isErrno } from '../../errors.ts';
import { checkRange, memoryFor } from '../answer.ts';
import { isMissing, isPermanent, StoreFailure, stopIfAborted } from '../failure.ts';
import { FOLDERS, fileAt, packFolders, pathOf } from '../layout.ts';
import type { FileHandle, FileInfo, FileType, LoadOptions, Pace, SaveOptions, Store } from '../store.ts';
import { localFailure } from './failures.ts';
import { removeLeftovers, temporaryName } from './leftovers.ts';

/** With a limit on the rate, so much is written or read between two looks at it. */
const PACED_PIECE = 256 * 1024;
/** And where so many pieces in a row did not have to wait: a limit that comes is felt after this much. */
const FREE_PIECE = 4 << 20;
const FREE_ANSWERS = 4;
/** Looks at so many files at once while listing. */
const STAT_BATCH = 64;

/**
 * A repository in a folder. A file appears under its name only when it is whole and on the disk: written under a temporary
 * name in the same folder, fsynced, renamed, and the folder fsynced.
 */
export class LocalStore implements Store {
  readonly location: string;
  /** Requests of the file system block a thread of libuv each, and there are four. */
  readonly concurrency = 2;
  #tidied: Promise<void> | undefined;

  /** `root` is the folder of the repository. */
  constructor(root: string) {
    this.location = root;
  }

  async create(signal?: AbortSignal): Promise<void> {
    stopIfAborted(signal, 'create', this.location);
    try {
      await makeFolder(this.location);
      for (const type of FOLDERS) await makeFolder(join(this.location, type));
      for (const name of packFolders()) await makeFolder(join(this.location, 'data', name), { sync: false });
      await syncFolder(join(this.location, 'data'));
      await syncFolder(this.location);
      await this.#tidy();
    } catch (error) {
      throw localFailure('create', this.location, error);
    }
  }

  async save(file: FileHandle, content: Uint8Array, options: SaveOptions = {}): Promise<void> {
    const path = join(this.location, pathOf(file));
    stopIfAborted(options.signal, 'save', path);
    const temporary = await temporaryName(path);
    try {
      await this.#tidy();
      const output = await this.#openNew(temporary, path);
      try {
        await writeAll(output, content, path, options);
        await output.sync();
      } finally {
        await output.close();
      }
      stopIfAborted(options.signal, 'save', path);
      await rename(temporary, path);
      await syncFolder(dirname(path));
    } catch (error) {
      await removeQuietly(temporary);
      throw localFailure('save', path, error);
    }
  }

  async load(file: FileHandle, options: LoadOptions = {}): Promise<Uint8Array> {
    const path = join(this.location, pathOf(file));
    stopIfAborted(options.signal, 'load', path);
    try {
      const input = await open(path, 'r');
      try {
        const { size } = await input.stat();
        const { offset, length } = checkRange(options.range, size, path);
        const answer = memoryFor(length, options.into, path);
        await readAll(input, answer, offset, path, options);
        return answer;
      } finally {
        await input.close();
      }
    } catch (error) {
      throw localFailure('load', path, error);
    }
  }

  async stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    const path = join(this.location, pathOf(file));
    stopIfAborted(signal, 'stat', path);
    try {
      const { size, mtime } = await lstat(path);
      return { ...file, size, modified: mtime };
    } catch (error) {
      throw localFailure('stat', path, error);
    }
  }

  async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    for (const folder of foldersOf(types)) {
      stopIfAborted(signal, 'list', this.location);
      const paths = (await this.#namesIn(folder)).map((name) => (folder === '' ? name : `${folder}/${name}`));
      const files = paths
        .map(fileAt)
        .filter((file) => file !== undefined)
        .filter(({ type }) => types.includes(type));
      for (let i = 0; i < files.length; i += STAT_BATCH) {
        stopIfAborted(signal, 'list', this.location);
        const infos = await Promise.all(files.slice(i, i + STAT_BATCH).map((file) => this.#infoOf(file)));
        for (const info of infos) if (info !== undefined) yield info;
      }
    }
  }

  async remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    const path = join(this.location, pathOf(file));
    stopIfAborted(signal, 'remove', path);
    try {
      await this.#tidy();
      await unlink(path);
      await syncFolder(dirname(path));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw localFailure('remove', path, error);
    }
  }

  isMissing(error: unknown): boolean {
    return isMissing(error);
  }

  isPermanent(error: unknown): boolean {
    return isPermanent(error);
  }

  async close(): Promise<void> {
    // No file stays open between calls.
  }

  /** Once per process and store, before the first change: clears away what killed writers left. */
  #tidy(): Promise<void> {
    this.#tidied ??= removeLeftovers(this.location);
    return this.#tidied;
  }

  /** Other programs make a folder of packs when the first one comes: so do we if it is missing. */
  async #openNew(temporary: string, path: string): Promise<OpenFile> {
    try {
      return await open(temporary, 'wx', 0o600);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
    await this.#requirePlace('save');
    await makeFolder(dirname(path));
    return open(temporary, 'wx', 0o600);
  }

  /** Nothing but `create` makes the folder of the repository: a file system that is not mounted must not look like an empty one. */
  async #requirePlace(operation: string): Promise<void> {
    try {
      await lstat(this.location);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      throw new StoreFailure({
        operation,
        subject: this.location,
        cause: 'the folder does not exist',
        hint: 'check the path and that its file system is mounted; `datamover init` makes a new repository',
        reason: 'no-place',
        code: 'ENOENT',
      });
    }
  }

  async #namesIn(folder: string): Promise<string[]> {
    const path = join(this.location, folder);
    try {
      return await readdir(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw localFailure('list', path, error);
    }
    await this.#requirePlace('list');
    return [];
  }

  /** Undefined if the file was removed since its name was read. */
  async #infoOf(file: FileHandle): Promise<FileInfo | undefined> {
    try {
      return await this.stat(file);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }
}

function foldersOf(types: readonly FileType[]): string[] {
  return types.flatMap((type) => {
    if (type === 'config') return [''];
    return type === 'data' ? packFolders().map((name) => `data/${name}`) : [type];
  });
}

/** Makes a folder that only we may enter, and the folders above it if need be. */
async function makeFolder(path: string, { sync = true } = {}): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (sync) await syncFolder(dirname(path));
}

/** Makes a rename or a removal durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } catch (error) {
    // Some network and FUSE file systems cannot sync a folder; they promise nothing more than they give.
    if (!isErrno(error, 'EINVAL') && !isErrno(error, 'ENOTSUP')) throw error;
  } finally {
    await folder.close();
  }
}

async function writeAll(
  output: OpenFile,
  content: Uint8Array,
  path: string,
  { signal, pace }: SaveOptions,
): Promise<void> {
  let free = 0;
  for (let at = 0; at < content.length;) {
    stopIfAborted(signal, 'save', path);
    const piece = content.subarray(at, at + pieceLength(pace, free, content.length - at));
    const waiting = pace?.(piece.length);
    free = waiting === undefined ? free + 1 : 0;
    await waiting;
    const { bytesWritten } = await output.write(piece, 0, piece.length, at);
    at += bytesWritten;
  }
}

async function readAll(
  input: OpenFile,
  answer: Uint8Array,
  offset: number,
  path: string,
  { signal, pace }: LoadOptions,
): Promise<void> {
  let free = 0;
  for (let at = 0; at < answer.length;) {
    stopIfAborted(signal, 'load', path);
    const wanted = pieceLength(pace, free, answer.length - at);
    const waiting = pace?.(wanted);
    free = waiting === undefined ? free + 1 : 0;
    await waiting;
    const { bytesRead } = await input.read(answer, at, wanted, offset + at);
    if (bytesRead === 0) {
      const cause = `the file ended after ${at} of ${answer.length} bytes`;
      throw new StoreFailure({ operation: 'load', subject: path, cause, reason: 'broken' });
    }
    at += bytesRead;
  }
}

/** Small pieces keep to a rate; without one each costs a way through the thread pool (0.1 s of CPU time a GiB at 256 KiB). */
function pieceLength(pace: Pace | undefined, free: number, rest: number): number {
  return pace === undefined ? rest : Math.min(rest, free < FREE_ANSWERS ? PACED_PIECE : FREE_PIECE);
}

/** The save has failed already and says why; a leftover that cannot be removed now goes with the next writer. */
async function removeQuietly(path: string): Promise<void> {
  await unlink(path).catch(() => undefined);
}
