import { DatamoverError, describeCause, type FailureKind } from '../../errors.ts';
import type { ByteRange } from '../driver.ts';
import type { PoolPlace } from './cluster.ts';
import type { UnsureHold } from './hold.ts';
import type { ImageLook, ImagePlace } from './image.ts';
import type { ImageName } from './image-name.ts';
import { LibrbdError } from './librbd-error.ts';
import type { ReadJob, SharedImage } from './read-job.ts';

/**
 * What is asked of the process that holds librbd open (session-main.ts), as lines of JSON with a number each; answers come in any
 * order. An answer is a line as well; `bytes` of it follow as they are.
 */
interface Dialogue {
  /** Image and snaps as they are now. */
  look: { about: ImagePlace; answer: ImageLook };
  /** Of each snap: 0 if its object map is valid, fast-diff too. Only librbd tells them of a snap by its id. */
  flags: {
    about: { readonly image: SharedImage; readonly snapIds: readonly number[] };
    answer: readonly number[];
  };
  /** The names of all images of a pool. */
  names: { about: PoolPlace; answer: readonly string[] };
  /** Lets go what is held by those that are no more; gives the snaps. */
  clean: { about: ImageName; answer: readonly string[] };
  /** What is held by those who may be at work elsewhere, or may not. */
  unsure: { about: ImageName; answer: readonly UnsureHold[] };
  /** Holds what the job reads, once in a process's life. It lets go of it when it ends, whatever became of who asked. */
  hold: { about: ReadJob; answer: null };
  /** Writes the job's diff to the descriptor PIPE: to its end, or until nobody reads it any more. */
  read: { about: null; answer: 'ended' | 'cut off' };
  /** Reads a range of the held snap: the bytes that follow. */
  range: { about: ByteRange; answer: null };
  release: { about: null; answer: null };
}

export type Topic = keyof Dialogue;
export type About<T extends Topic> = Dialogue[T]['about'];
export type Answer<T extends Topic> = Dialogue[T]['answer'];
export type Question = {
  [T in Topic]: { readonly number: number; readonly topic: T; readonly about: About<T> };
}[Topic];

export interface Reply {
  readonly number: number;
  readonly answer?: unknown;
  readonly failure?: Failure;
  /** So many bytes follow the line. */
  readonly bytes?: number;
}

/** An error on its way between processes. */
export interface Failure {
  readonly cause: string;
  /** Of librbd, where it is one. */
  readonly errno?: number;
  /** Of a DatamoverError: it says itself what was done to what. */
  readonly said?: {
    readonly operation: string;
    readonly subject?: string;
    readonly hint?: string;
    readonly kind: FailureKind;
    readonly retryable: boolean;
  };
}

/** Where the session process has the pipe that it writes a diff to. */
export const PIPE = 3;
const NEWLINE = 10;

export function toFailure(error: unknown): Failure {
  if (error instanceof LibrbdError) return { cause: error.message, errno: error.errno };
  if (!(error instanceof DatamoverError)) return { cause: describeCause(error) };
  const { operation, subject, hint, kind, retryable } = error;
  const said = {
    operation,
    kind,
    retryable,
    ...(subject !== undefined && { subject }),
    ...(hint !== undefined && { hint }),
  };
  return { cause: describeCause(error.cause), said };
}

/** Gives memory back at once: the collector would be started for each few MiB of it. */
export function release(bytes: Uint8Array): void {
  const { buffer, byteOffset, length } = bytes;
  if (buffer instanceof ArrayBuffer && byteOffset === 0 && length === buffer.byteLength) buffer.transfer(0);
}

/** Takes a session's output apart; what it is given is its own. */
export class ReplyReader {
  readonly #onReply: (reply: Reply, bytes: Buffer) => void;
  #line: Buffer[] = [];
  #reply: Reply | undefined;
  #bytes: Buffer = Buffer.alloc(0);
  #filled = 0;

  constructor(onReply: (reply: Reply, bytes: Buffer) => void) {
    this.#onReply = onReply;
  }

  push(chunk: Buffer): void {
    this.#read(chunk);
    release(chunk);
  }

  #read(chunk: Buffer): void {
    for (let rest = chunk; rest.length > 0;) {
      if (this.#reply !== undefined) {
        const count = rest.copy(this.#bytes, this.#filled);
        this.#filled += count;
        rest = rest.subarray(count);
        this.#tellIfWhole();
        continue;
      }
      const end = rest.indexOf(NEWLINE);
      this.#line.push(Buffer.from(end < 0 ? rest : rest.subarray(0, end)));
      if (end < 0) return;
      rest = rest.subarray(end + 1);
      this.#reply = JSON.parse(Buffer.concat(this.#line).toString('utf8')) as Reply;
      this.#line = [];
      this.#bytes = Buffer.allocUnsafe(this.#reply.bytes ?? 0);
      this.#filled = 0;
      this.#tellIfWhole();
    }
  }

  #tellIfWhole(): void {
    const reply = this.#reply;
    if (reply === undefined || this.#filled < this.#bytes.length) return;
    this.#reply = undefined;
    this.#onReply(reply, this.#bytes);
  }
}
