import { getSystemErrorMessage } from 'node:util';
import { DatamoverError } from '../errors.ts';
import { widenPipe } from './pipe-capacity.ts';
import { native } from './native.ts';

/** Of pipe2(2): programs that are started do not get the ends, unless they are handed to them. */
const O_CLOEXEC = 0o2000000;

/** Of poll(2): what is written has nowhere to go. */
const POLLERR = 8;

type Pipe2 = (descriptors: Uint8Array, flags: number) => number;

type Poll = (descriptors: Uint8Array, count: number, timeout: number) => number;

let pipe2: Pipe2 | undefined;

interface Pipe {
  readonly read: number;
  readonly write: number;
}

/** A pipe between a program that is started with its one end, and a thread of ours that reads the other; nothing is copied by us. */
export function makePipe(): Pipe {
  pipe2 ??= native().load(null).func('int pipe2(_Out_ uint8_t *descriptors, int flags)') as unknown as Pipe2;
  const descriptors = Buffer.alloc(8);
  if (pipe2(descriptors, O_CLOEXEC) !== 0) {
    const cause = getSystemErrorMessage(-native().errno());
    throw new DatamoverError({
      operation: 'make a pipe',
      cause,
      hint: 'see how many files may be open (ulimit -n)',
    });
  }
  const [read, write] = [descriptors.readInt32LE(0), descriptors.readInt32LE(4)];
  widenPipe(read);
  return { read, write };
}

/** Whether somebody could still read what is written to this end of a pipe. */
export function hasReader(fd: number): boolean {
  const poll = native()
    .load(null)
    .func('int poll(_Inout_ uint8_t *descriptors, unsigned long count, int timeout)') as unknown as Poll;
  const descriptor = Buffer.alloc(8);
  descriptor.writeInt32LE(fd, 0);
  poll(descriptor, 1, 0);
  return (descriptor.readInt16LE(6) & POLLERR) === 0;
}
