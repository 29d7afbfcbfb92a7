import { getSystemErrorMessage } from 'node:util';

/** An error of the library: its negative answers are errnos. */
export class LibrbdError extends Error {
  override readonly name = 'LibrbdError';
  readonly errno: number;

  constructor(text: string, errno: number) {
    super(text);
    this.errno = errno;
  }

  /** `what` failed. */
  static of(what: string, errno: number): LibrbdError {
    return new LibrbdError(`${what}: ${getSystemErrorMessage(-errno)} (errno ${errno})`, errno);
  }
}

export function isErrnoOf(error: unknown, ...errnos: readonly number[]): boolean {
  return error instanceof LibrbdError && errnos.includes(error.errno);
}
