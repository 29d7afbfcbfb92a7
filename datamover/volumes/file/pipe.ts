import { write as writeCallback } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DatamoverError, isErrno } from '../../errors.ts';
import { widenPipe } from '../../process/pipe-capacity.ts';

const write = promisify(writeCallback);

/** Writes to a pipe, a socket or a file that is only appended to: stdout. */
export class PipeTarget {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
    widenPipe(fd);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      try {
        const { bytesWritten } = await write(this.#fd, bytes, done, bytes.length - done, null);
        done += bytesWritten;
      } catch (error) {
        // Somebody at the other end made the pipe non-blocking, and it is full.
        if (isErrno(error, 'EAGAIN')) await delay(1);
        else throw this.#explain(error);
      }
    }
  }

  #explain(error: unknown): DatamoverError {
    if (isErrno(error, 'EPIPE')) {
      return new DatamoverError({
        operation: 'write the volume to',
        subject: 'the pipe',
        cause: 'its reader has gone',
        hint: 'the restore is not complete: see why the reading program ended',
      });
    }
    return new DatamoverError({ operation: 'write the volume to', subject: 'the pipe', cause: error });
  }
}
