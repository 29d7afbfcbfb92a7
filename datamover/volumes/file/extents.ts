import koffi from 'koffi';
import { DatamoverError } from '../../errors.ts';

/** A range of bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

type Seek = (fd: number, offset: number, whence: number) => number | bigint;

let seek: Seek | undefined;

/** Node has no lseek: koffi calls the C library's. */
function lseek(): Seek {
  seek ??= koffi.load(null).func('int64_t lseek(int fd, int64_t offset, int whence)') as unknown as Seek;
  return seek;
}

/**
 * The parts of a file that hold data, in ascending order; everything else reads as zeros (lseek(2), SEEK_DATA). A file on a
 * filesystem without holes is one extent. Does not move a descriptor that somebody reads from with its own positions.
 */
export function dataExtents(fd: number, size: number): Extent[] {
  const extents: Extent[] = [];
  for (let at = 0; at < size;) {
    const data = call(fd, at, SEEK_DATA);
    if (data === undefined || data >= size) break;
    const hole = Math.min(call(fd, data, SEEK_HOLE) ?? size, size);
    extents.push({ offset: data, length: hole - data });
    at = hole;
  }
  return extents;
}

/** Undefined where there is no data (or hole) after `offset`. */
function call(fd: number, offset: number, whence: number): number | undefined {
  const at = Number(lseek()(fd, offset, whence));
  if (at >= 0) return at;
  const errno = koffi.errno();
  if (errno === koffi.os.errno['ENXIO']) return undefined;
  // A filesystem without SEEK_DATA: the whole file counts as data.
  if (errno === koffi.os.errno['EINVAL']) return whence === SEEK_DATA ? offset : undefined;
  throw new DatamoverError({
    operation: 'find the data of file',
    subject: `descriptor ${fd}`,
    cause: `lseek failed with errno ${errno}`,
  });
}
