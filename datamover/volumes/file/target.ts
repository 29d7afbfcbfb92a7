import { constants, type Stats } from 'node:fs';
import { open, realpath, stat, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DatamoverError, isErrno } from '../../errors.ts';
import type { TargetPlan, VolumeTarget } from '../driver.ts';
import { forgetPages } from './page-cache.ts';
import { imageSize } from './size.ts';

export interface FileTargetPlan extends TargetPlan {
  readonly kind: 'new-file' | 'existing-file' | 'device';
}

const OPERATION = 'restore to';
const ZEROS = Buffer.alloc(1 << 20);
const READ_BYTES = 4 << 20;

/**
 * Looks at the target of a restore and says what will happen to it. A file that exists is only taken with `force`; a device
 * must be large enough.
 */
export async function planFileTarget(named: string, bytes: number, force: boolean): Promise<FileTargetPlan> {
  // Devices are mostly named by links (/dev/disk/by-id, /dev/mapper): what they lead to is what is opened later.
  const path = await realpath(named).catch(() => named);
  const stats = await statOrMissing(path);
  if (stats === undefined) return { location: path, bytes, action: 'create', kind: 'new-file' };
  if (stats.isBlockDevice()) {
    const room = imageSize(stats) ?? 0;
    if (room < bytes) {
      throw new DatamoverError({
        operation: OPERATION,
        subject: path,
        cause: `the device has ${room} bytes, the image ${bytes}`,
        hint: 'choose a target that is at least as large',
        kind: 'target-too-small',
      });
    }
    return { location: path, bytes: room, action: 'overwrite', kind: 'device' };
  }
  if (!stats.isFile()) {
    throw new DatamoverError({
      operation: OPERATION,
      subject: path,
      cause: 'it is neither a regular file nor a block device',
      hint: 'name a file or a block device, or - for a pipe',
      kind: 'usage',
    });
  }
  if (!force) {
    throw new DatamoverError({
      operation: OPERATION,
      subject: path,
      cause: `the file exists and has ${stats.size} bytes`,
      hint: 'use --force to overwrite it, or name another file',
    });
  }
  return { location: path, bytes, action: 'overwrite', kind: 'existing-file' };
}

/** An open target. Everything that is not written reads as zero in a file; a device keeps what it had, so write its zeros too. */
export class FileTarget implements VolumeTarget {
  readonly order = 'any';
  readonly #file: FileHandle;
  readonly #plan: FileTargetPlan;

  private constructor(file: FileHandle, plan: FileTargetPlan) {
    this.#file = file;
    this.#plan = plan;
  }

  static async open(plan: FileTargetPlan): Promise<FileTarget> {
    let target: FileTarget | undefined;
    try {
      target = new FileTarget(await open(plan.location, flagsFor(plan.kind), 0o600), plan);
      if (plan.kind !== 'device') {
        // Emptied first, so that holes are zero whatever was there.
        await target.#file.truncate(0);
        await target.#file.truncate(plan.bytes);
      }
      return target;
    } catch (error) {
      // Not even an empty file stays: the next run would meet it as one that exists.
      await target?.discard();
      throw failure(error, plan);
    }
  }

  /** For whoever has to know which device it is. */
  get fd(): number {
    return this.#file.fd;
  }

  /** Whether parts that are never written read as zeros. */
  get startsAsZeros(): boolean {
    return this.#plan.kind !== 'device';
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    try {
      let done = 0;
      while (done < bytes.length) {
        const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, position + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw failure(error, this.#plan);
    }
  }

  async writeZeros(position: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZEROS.length) {
      await this.write(position + done, ZEROS.subarray(0, Math.min(ZEROS.length, length - done)));
    }
  }

  async finish(): Promise<void> {
    try {
      // What the disk could not take after all (full, broken, over quota) is often said only here.
      await this.#file.sync();
      if (this.#plan.kind !== 'new-file') return;
      const folder = await open(dirname(this.#plan.location), 'r');
      await folder.sync().finally(() => folder.close());
    } catch (error) {
      throw failure(error, this.#plan);
    }
  }

  /** From the disk: what was just written would be found in memory even if the disk had lost it. */
  async *readBack(signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    forgetPages(this.#file.fd);
    const buffer = Buffer.alloc(READ_BYTES);
    for (let position = 0; position < this.#plan.bytes;) {
      signal?.throwIfAborted();
      const length = Math.min(READ_BYTES, this.#plan.bytes - position);
      const { bytesRead } = await this.#file.read(buffer, 0, length, position);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
      position += bytesRead;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Takes a file that this restore made away again: half a volume must not look like a whole one. */
  async discard(): Promise<void> {
    await this.close();
    if (this.#plan.kind === 'new-file') await unlink(this.#plan.location).catch(() => undefined);
  }
}

function flagsFor(kind: FileTargetPlan['kind']): number {
  switch (kind) {
    case 'new-file':
      return constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    case 'existing-file':
      return constants.O_RDWR | constants.O_NOFOLLOW;
    case 'device':
      // Exclusive on a block device: refused by the kernel while it is mounted or otherwise in use (open(2)).
      return constants.O_RDWR | constants.O_EXCL;
  }
}

function failure(error: unknown, plan: FileTargetPlan): DatamoverError {
  return new DatamoverError({ operation: OPERATION, subject: plan.location, ...explain(error, plan) });
}

function explain(error: unknown, { bytes, kind }: FileTargetPlan): { cause: unknown; hint?: string } {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
  switch (code) {
    case 'ENOSPC':
      return { cause: 'no space left', hint: `free space: the image needs up to ${bytes} bytes` };
    case 'EDQUOT':
      return { cause: 'the disk quota is used up', hint: `the image needs up to ${bytes} bytes` };
    case 'EFBIG':
      return {
        cause: `a file of ${bytes} bytes is too large here`,
        hint: 'the filesystem or a limit of this process (ulimit -f) does not take it',
      };
    case 'EBUSY':
      return { cause: 'the device is busy', hint: 'unmount it and stop what uses it' };
    case 'ENOENT':
      return { cause: 'the folder does not exist', hint: 'create it first' };
    case 'EACCES':
      return { cause: 'permission denied', hint: 'run as a user who may write there' };
    case 'EROFS':
      return { cause: 'it is read-only' };
    case 'EPERM':
      // Linux opens a read-only device for writing and refuses the first write.
      return kind === 'device'
        ? { cause: 'the device is read-only' }
        : { cause: 'permission denied', hint: 'the file or its folder may be immutable (lsattr)' };
    default:
      return { cause: error };
  }
}

async function statOrMissing(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw new DatamoverError({ operation: OPERATION, subject: path, cause: error });
  }
}
