import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { DatamoverError, isErrno } from '../../errors.ts';
import { dataExtents, type Extent } from './extents.ts';
import { imageSize } from './size.ts';

/** An image file or block device that is open for reading. */
export interface ImageSource {
  readonly path: string;
  readonly fd: number;
  readonly bytes: number;
  /** What may be other than zero at this moment, ascending; it reaches to multiples of 1 MiB. */
  extents(): readonly Extent[];
  close(): void;
}

const OPERATION = 'open volume';
/** Backups read cells of this size and nothing less. */
const GRAIN = 1 << 20;

export function openImage(path: string): ImageSource {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    const hint = isErrno(error, 'ENOENT')
      ? 'check the path'
      : isErrno(error, 'EACCES')
        ? 'run as a user who may read it'
        : undefined;
    const cause = isErrno(error, 'ENOENT')
      ? 'no such file or device'
      : isErrno(error, 'EACCES')
        ? 'permission denied'
        : error;
    throw new DatamoverError({ operation: OPERATION, subject: path, cause, ...(hint ? { hint } : {}) });
  }
  try {
    const stats = fstatSync(fd);
    const bytes = imageSize(stats);
    if (bytes === undefined) {
      const what = stats.isDirectory() ? 'a directory' : 'neither a regular file nor a block device';
      throw new DatamoverError({
        operation: OPERATION,
        subject: path,
        cause: `it is ${what}`,
        hint: 'give an image file or a block device; a pipe goes through --stdin',
        kind: 'usage',
      });
    }
    if (bytes === 0 && stats.isBlockDevice()) {
      throw new DatamoverError({
        operation: OPERATION,
        subject: path,
        cause: 'the device has no medium: its size is 0',
        hint: 'attach or map the volume first',
      });
    }
    const whole = bytes > 0 ? [{ offset: 0, length: bytes }] : [];
    const extents = (): readonly Extent[] => (stats.isFile() ? dataExtents(fd, bytes, GRAIN) : whole);
    return { path, fd, bytes, extents, close: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Whether a block device is mounted or otherwise held: then it may change while it is read. */
export function isInUse(path: string): boolean {
  try {
    // O_EXCL without O_CREAT is refused for a device in use (open(2)); for other files it would mean nothing.
    if (statSync(path).isBlockDevice()) closeSync(openSync(path, constants.O_RDONLY | constants.O_EXCL));
    return false;
  } catch (error) {
    if (isErrno(error, 'EBUSY')) return true;
    throw error;
  }
}
