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

  /** A reader that takes nothing holds the write up; `signal` ends the wait, though not the system call. */
  async write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      try {
        const writing = write(this.#fd, bytes, done, bytes.length - done, null);
        const { bytesWritten } = await unlessAborted(writing, signal);
        done += bytesWritten;
      } catch (error) {
        // Somebody at the other end made the pipe non-blocking, and it is full.
        if (isErrno(error, 'EAGAIN')) await delay(1);
        else throw signal?.aborted === true ? error : this.#explain(error);
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

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new DOMException('stopped', 'AbortError'));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
