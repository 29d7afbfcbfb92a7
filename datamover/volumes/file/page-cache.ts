import { native } from '../../process/native.ts';

/** posix_fadvise(2) on Linux: these pages are not needed any more. */
const DONTNEED = 4;

type Advise = (fd: number, offset: number, length: number, advice: number) => number;

/**
 * Lets the kernel forget what it holds of a file or device in memory, so that the next read asks the disk. Only what is synced
 * can be forgotten. It is advice: a filesystem that lives in memory keeps everything, and nothing is wrong with that.
 */
export function forgetPages(fd: number): void {
  if (process.platform !== 'linux') return;
  const advise = native()
    .load(null)
    .func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)') as unknown as Advise;
  advise(fd, 0, 0, DONTNEED);
}
