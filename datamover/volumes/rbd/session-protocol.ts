import { DatamoverError, describeCause, type FailureKind } from '../../errors.ts';
import type { ByteRange } from '../driver.ts';
import type { PoolPlace } from './cluster.ts';
import type { UnsureHold } from './hold.ts';
import type { ImageLook, ImagePlace } from './image.ts';
import type { ImageName } from './image-name.ts';
import { LibrbdError } from './librbd-error.ts';
import type { ReadJob, SharedImage } from './read-job.ts';

/**
 * What is asked of the process that holds librbd open (session-main.ts), as lines of JSON with a number each; answers, lines as well,
 * come in any order.
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
  /** Reads a range of the held snap, cut at the end of the image, to `at` in the file ROOM; answers how many bytes that were. */
  range: { about: ByteRange & { readonly at: number }; answer: number };
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
/** And the file that it puts ranges into: its memory is shared with whoever asked. */
export const ROOM = 4;
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

/** Takes lines of JSON apart. */
export class MessageReader<Message> {
  readonly #onMessage: (message: Message) => void;
  #begun: Buffer[] = [];

  constructor(onMessage: (message: Message) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      const line = Buffer.concat([...this.#begun, rest.subarray(0, end)]);
      this.#begun = [];
      rest = rest.subarray(end + 1);
      this.#onMessage(JSON.parse(line.toString('utf8')) as Message);
    }
    if (rest.length > 0) this.#begun.push(rest);
  }
}
