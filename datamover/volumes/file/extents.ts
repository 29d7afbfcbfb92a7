import { DatamoverError } from '../../errors.ts';
import { native } from '../../process/native.ts';

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
  seek ??= native().load(null).func('int64_t lseek(int fd, int64_t offset, int whence)') as unknown as Seek;
  return seek;
}

/**
 * The parts of a file that hold data, in ascending order; everything else reads as zeros (lseek(2), SEEK_DATA). A file on a
 * filesystem without holes is one extent. Does not move a descriptor that somebody reads from with its own positions.
 *
 * Extents reach to a multiple of `grain` bytes: who reads in such units loses nothing, and a file with a million small holes costs two
 * calls and one object for each unit at the most, not for each hole.
 */
export function dataExtents(fd: number, size: number, grain = 1): Extent[] {
  const extents: { offset: number; length: number }[] = [];
  for (let at = 0; at < size;) {
    const data = call(fd, at, SEEK_DATA);
    if (data === undefined || data >= size) break;
    const hole = call(fd, data, SEEK_HOLE) ?? size;
    const end = Math.min(Math.ceil(hole / grain) * grain, size);
    const last = extents.at(-1);
    if (last !== undefined && last.offset + last.length === data) last.length = end - last.offset;
    else extents.push({ offset: data, length: end - data });
    at = end;
  }
  return extents;
}

/** Undefined where there is no data (or hole) after `offset`. */
function call(fd: number, offset: number, whence: number): number | undefined {
  const at = Number(lseek()(fd, offset, whence));
  if (at >= 0) return at;
  const errno = native().errno();
  if (errno === native().os.errno['ENXIO']) return undefined;
  // A filesystem without SEEK_DATA: the whole file counts as data.
  if (errno === native().os.errno['EINVAL']) return whence === SEEK_DATA ? offset : undefined;
  throw new DatamoverError({
    operation: 'find the data of file',
    subject: `descriptor ${fd}`,
    cause: `lseek failed with errno ${errno}`,
  });
}
