import { fstatSync } from 'node:fs';
import { native } from './native.ts';

/** fcntl(2): set the capacity of a pipe. 1 MiB is what an unprivileged process may ask for (/proc/sys/fs/pipe-max-size). */
const F_SETPIPE_SZ = 1031;
const CAPACITY = 1 << 20;

type Fcntl = (fd: number, command: number, type: 'int', value: number) => number;

/**
 * Makes a pipe hold 1 MiB instead of 64 KiB: both ends then work in larger pieces and wait for each other less often. Does
 * nothing to what is no pipe, and nothing where the kernel refuses: it is a matter of speed alone.
 */
export function widenPipe(fd: number): void {
  if (process.platform !== 'linux' || !fstatSync(fd).isFIFO()) return;
  const fcntl = native().load(null).func('int fcntl(int fd, int command, ...)') as unknown as Fcntl;
  fcntl(fd, F_SETPIPE_SZ, 'int', CAPACITY);
}
