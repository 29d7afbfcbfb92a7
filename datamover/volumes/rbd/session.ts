import { closeSync, readSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { DatamoverError, describeCause } from '../../errors.ts';
import { makePipe } from '../../process/pipe.ts';
import { makeSharedFile } from '../../process/shared-file.ts';
import { currentTransfer, TRANSFER_VARIABLE } from '../../process/owner.ts';
import { start, type Running } from '../../process/spawn.ts';
import { within } from '../../process/within.ts';
import { accessOptions, hintFor, type RbdConnection } from './command.ts';
import { libraryCommand } from './library-command.ts';
import { LibrbdError } from './librbd-error.ts';
import {
  MessageReader,
  type About,
  type Answer,
  type Failure,
  type Reply,
  type Topic,
} from './session-protocol.ts';

/** For messages: a verb phrase, and the name of an image. */
export interface Asking {
  readonly operation: string;
  readonly subject: string;
  /** Fires when nobody wants the answer any more. The session is of no use then but to be closed. */
  readonly signal?: AbortSignal | undefined;
}

interface Waiting {
  readonly asking: Asking;
  answered(reply: Reply): void;
  failed(error: Error): void;
}

interface Opened {
  readonly running: Running;
  readonly questions: PassThrough;
  /** Our end of the pipe that the session writes a diff to. */
  readonly pipe: number;
  /** The file that the session puts ranges into. */
  readonly room: number;
}

/**
 * One thread asks Ceph, and nothing is asked at the same time: librbd 16.2.15 that is called by several threads of libuv's, by
 * koffi, finds its client's memory spoiled once in some hundred images that are opened (docs/adr/0018).
 */
const THREADS = '1';
/** Longer than a session takes to let go of what it holds when the cluster does not answer (session-main.ts). */
const END_MS = 6000;

/**
 * A process that has librbd open, and what is asked of it. It is started with the first question and lasts until
 * `close`: a start and a connection cost as much as all that a backup asks.
 */
export class Session {
  readonly #connection: RbdConnection;
  readonly #waiting = new Map<number, Waiting>();
  #numbers = 0;
  #opened: Promise<Opened> | undefined;
  #pipeOpen = false;
  #ended: string | undefined;
  #closed: Promise<void> | undefined;

  constructor(connection: RbdConnection) {
    this.#connection = connection;
  }

  async ask<T extends Topic>(topic: T, about: About<T>, asking: Asking): Promise<Answer<T>> {
    const { signal } = asking;
    if (signal?.aborted === true) throw cancelled(asking);
    const { questions } = await this.#open();
    if (this.#ended !== undefined) throw broken(asking, this.#ended);
    if (this.#closed !== undefined) throw broken(asking, 'it was ended');
    const number = this.#numbers++;
    return new Promise((resolve, reject) => {
      const stop = (): void => settle(() => reject(cancelled(asking)));
      const settle = (how: () => void): void => {
        signal?.removeEventListener('abort', stop);
        this.#waiting.delete(number);
        how();
      };
      this.#waiting.set(number, {
        asking,
        answered: ({ answer, failure }) =>
          settle(() => {
            if (failure === undefined) resolve(answer as Answer<T>);
            else reject(explain(failure, asking));
          }),
        failed: (error) => settle(() => reject(error)),
      });
      signal?.addEventListener('abort', stop, { once: true });
      if (signal?.aborted === true) stop();
      questions.write(`${JSON.stringify({ number, topic, about })}\n`);
    });
  }

  /** What was put into the room at `at`, as much as `bytes` has. */
  async take(at: number, bytes: Buffer, asking: Asking): Promise<void> {
    const { room } = await this.#open();
    // Its number may be another file's by now.
    if (this.#closed !== undefined) throw broken(asking, 'it was ended');
    for (let done = 0; done < bytes.length;) {
      const count = readSync(room, bytes, done, bytes.length - done, at + done);
      if (count === 0) throw broken(asking, `it gave ${done} bytes where it said ${bytes.length}`);
      done += count;
    }
  }

  /** The end of the pipe that a diff is read from; until `closePipe`. */
  async pipe(): Promise<number> {
    return (await this.#open()).pipe;
  }

  /** Nobody reads the diff any more. What is left of it has nowhere to go. */
  async closePipe(): Promise<void> {
    if (!this.#pipeOpen) return;
    this.#pipeOpen = false;
    closeSync((await this.#open()).pipe);
  }

  /** Whether the process has ended by itself. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Ends the process, which lets go of what it holds. Never throws. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  #open(): Promise<Opened> {
    if (this.#opened !== undefined) return this.#opened;
    const opened = this.#start();
    this.#opened = opened;
    // Of no use any more: who asks again begins another one.
    opened.catch((error: unknown) => {
      this.#ended = `it could not be started: ${describeCause(error)}`;
    });
    return opened;
  }

  async #start(): Promise<Opened> {
    // Also for its checks of what the connection names.
    accessOptions(this.#connection);
    if (this.#closed !== undefined) throw new Error('the session was closed');
    const room = makeSharedFile('ranges');
    let pipe: ReturnType<typeof makePipe>;
    try {
      pipe = makePipe();
    } catch (error) {
      closeSync(room);
      throw error;
    }
    const questions = new PassThrough();
    let running: Running;
    try {
      running = await start({
        ...libraryCommand(this.#connection, 'session-main', [JSON.stringify(this.#connection)]),
        env: { UV_THREADPOOL_SIZE: THREADS, [TRANSFER_VARIABLE]: currentTransfer() },
        input: questions,
        descriptors: [pipe.write, room],
        operation: 'ask',
        subject: 'Ceph',
      });
    } catch (error) {
      closeSync(pipe.read);
      closeSync(room);
      throw error;
    } finally {
      closeSync(pipe.write);
    }
    this.#pipeOpen = true;
    const replies = new MessageReader<Reply>((reply) => this.#waiting.get(reply.number)?.answered(reply));
    running.stdout.on('data', (chunk: Buffer) => {
      try {
        replies.push(chunk);
      } catch (error) {
        this.#end(`it said what nobody understands (${describeCause(error)})`);
        void running.stop();
      }
    });
    running.finished.then(
      () => this.#end('it ended'),
      (error: unknown) => this.#end(error instanceof DatamoverError ? causeOf(error) : String(error)),
    );
    return { running, questions, pipe: pipe.read, room };
  }

  #end(how: string): void {
    this.#ended ??= how;
    for (const waiting of [...this.#waiting.values()]) waiting.failed(broken(waiting.asking, how));
  }

  async #close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    if (opened === undefined) return;
    await this.closePipe();
    const { running, questions, room } = opened;
    questions.end();
    const ended = running.finished.catch(() => undefined);
    if ((await within(END_MS, ended, 'late')) === 'late') kill(running.pid);
    await ended;
    closeSync(room);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended at this very moment.
  }
}

function explain({ cause, errno, said }: Failure, { operation, subject }: Asking): DatamoverError {
  if (said !== undefined) return new DatamoverError({ ...said, cause });
  const hint = hintFor(errno, cause);
  return new DatamoverError({
    operation,
    subject,
    // Callers tell errnos apart.
    cause: errno === undefined ? cause : new LibrbdError(cause, errno),
    ...(hint !== undefined && { hint }),
  });
}

function cancelled({ operation, subject }: Asking): DatamoverError {
  return new DatamoverError({ operation, subject, cause: 'stopped', kind: 'cancelled' });
}

function broken({ operation, subject }: Asking, how: string): DatamoverError {
  return new DatamoverError({
    operation,
    subject,
    cause: `the process that talks to Ceph is gone: ${how}`,
    hint: 'run it again',
    retryable: true,
  });
}

function causeOf({ cause }: DatamoverError): string {
  return cause instanceof Error ? cause.message : String(cause);
}
