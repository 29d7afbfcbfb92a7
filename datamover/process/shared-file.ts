import { getSystemErrorMessage } from 'node:util';
import { DatamoverError } from '../errors.ts';
import { native } from './native.ts';

/** Of memfd_create(2): programs that are started do not get it, unless it is handed to them. */
const MFD_CLOEXEC = 1;
/** Nobody can run it: since Linux 6.3, and a machine may refuse all others (vm.memfd_noexec = 2). */
const MFD_NOEXEC_SEAL = 8;

type MemfdCreate = (name: string, flags: number) => number;

/**
 * A file without a name, in memory, that a program may be started with: what both are to see costs one copy each, which a pipe or a
 * socket does in small pieces. The memory is given back when nobody has it open any more.
 */
export function makeSharedFile(name: string): number {
  const create = native()
    .load(null)
    .func('int memfd_create(const char *name, unsigned int flags)') as unknown as MemfdCreate;
  let fd = create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  // An older kernel does not know the flag.
  if (fd < 0 && native().errno() === native().os.errno['EINVAL']) fd = create(name, MFD_CLOEXEC);
  if (fd < 0) {
    throw new DatamoverError({
      operation: 'share memory with another process',
      cause: getSystemErrorMessage(-native().errno()),
      hint: 'see how many files may be open (ulimit -n)',
    });
  }
  return fd;
}
