import { getSystemErrorMessage } from 'node:util';
import { DatamoverError } from '../errors.ts';
import { native } from './native.ts';

/** Of memfd_create(2): programs that are started do not get it, unless it is handed to them. */
const MFD_CLOEXEC = 1;

type MemfdCreate = (name: string, flags: number) => number;

/**
 * A file without a name, in memory, that a program may be started with: what both are to see costs one copy each, which a pipe or a
 * socket does in small pieces. The memory is given back when nobody has it open any more.
 */
export function makeSharedFile(name: string): number {
  const create = native()
    .load(null)
    .func('int memfd_create(const char *name, unsigned int flags)') as unknown as MemfdCreate;
  const fd = create(name, MFD_CLOEXEC);
  if (fd < 0) {
    throw new DatamoverError({
      operation: 'share memory with another process',
      cause: getSystemErrorMessage(-native().errno()),
      hint: 'see how many files may be open (ulimit -n)',
    });
  }
  return fd;
}
