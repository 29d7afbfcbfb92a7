import { native } from './native.ts';

/** poll(2): there is something to read, or an end or an error that a read will tell of. */
const POLLIN = 1;

type Poll = (descriptors: Uint8Array, count: number, timeout: number) => number;

let poll: Poll | undefined;

/**
 * Blocks the calling thread until a read of `fd` would not, for `timeoutMs` at most; answers whether it would not. A read that
 * blocks cannot be called off, and a thread in it keeps the whole process from ending.
 */
export function waitReadable(fd: number, timeoutMs: number): boolean {
  poll ??= native()
    .load(null)
    .func('int poll(void *descriptors, unsigned long count, int timeout)') as unknown as Poll;
  const descriptor = Buffer.alloc(8);
  descriptor.writeInt32LE(fd, 0);
  descriptor.writeInt16LE(POLLIN, 4);
  // Below zero it was interrupted, or asked for what cannot be waited for: the read itself knows more.
  return poll(descriptor, 1, timeoutMs) !== 0;
}
