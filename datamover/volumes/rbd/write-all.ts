import { writeSync } from 'node:fs';
import { isErrno } from '../../errors.ts';

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Writes all of it to a pipe, and waits while that is full; for a program that has nothing else to do. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      // Somebody made the pipe non-blocking: there is nothing to wait on but time.
      if (!isErrno(error, 'EAGAIN')) throw error;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}
