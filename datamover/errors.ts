/** How a failure ends a command: the exit codes are restic's, so that scripts written for restic keep working. */
export type FailureKind =
  /** Anything without a more telling kind. Exit 1. */
  | 'failed'
  /** The arguments or the environment do not make a job. Exit 1. */
  | 'usage'
  /** The job ended, but some of the source could not be read or some of the data is damaged. Exit 3. */
  | 'incomplete'
  /** There is no repository at this place. Exit 10. */
  | 'no-repository'
  /** Somebody else holds a lock that excludes this job. Exit 11. */
  | 'locked'
  /** No key file opens with this password. Exit 12. */
  | 'wrong-password'
  /** What is restored into has no room for the volume. Exit 1. */
  | 'target-too-small'
  /** Somebody uses what is restored into. Exit 1. */
  | 'target-in-use'
  /** The user or a supervisor stopped the job. Exit 130. */
  | 'cancelled';

const EXIT_CODES: Record<FailureKind, number> = {
  failed: 1,
  usage: 1,
  incomplete: 3,
  'no-repository': 10,
  locked: 11,
  'wrong-password': 12,
  'target-too-small': 1,
  'target-in-use': 1,
  cancelled: 130,
};

/** What an exit code of the command says of its failure; the codes that several kinds share say no more than `failed`. */
export function failureKindOf(exitCode: number | undefined): FailureKind {
  const kinds = Object.entries(EXIT_CODES) as [FailureKind, number][];
  return kinds.find(([, code]) => code === exitCode)?.[0] ?? 'failed';
}

export interface FailureDetails {
  /** What was being done, a verb phrase: `open repository`. */
  operation: string;
  /** What it was done to: a location, a path, an id. */
  subject?: string;
  /** What went wrong, or the error that said so. */
  cause: unknown;
  /** What the reader can do about it. */
  hint?: string;
  kind?: FailureKind;
  /** Whether the same call may succeed later without anybody changing anything. */
  retryable?: boolean;
}

/**
 * The one error that reaches people: its message is a single sentence of operation, subject, cause and hint, and the same
 * sentence goes to the terminal, the condition and the event.
 */
export class DatamoverError extends Error {
  override readonly name = 'DatamoverError';
  readonly operation: string;
  readonly subject: string | undefined;
  readonly hint: string | undefined;
  readonly kind: FailureKind;
  readonly retryable: boolean;

  constructor(details: FailureDetails) {
    const { operation, subject, cause, hint } = details;
    const where = subject === undefined ? '' : ` ${subject}`;
    const advice = hint === undefined ? '' : ` (${hint})`;
    super(`${operation}${where}: ${describeCause(cause)}${advice}`, { cause });
    this.operation = operation;
    this.subject = subject;
    this.hint = hint;
    this.kind = details.kind ?? (cause instanceof DatamoverError ? cause.kind : 'failed');
    this.retryable = details.retryable ?? false;
  }

  get exitCode(): number {
    return EXIT_CODES[this.kind];
  }
}

/** The text of anything that was thrown, in one line. */
export function describeCause(cause: unknown): string {
  const text = cause instanceof Error ? cause.message || cause.name : String(cause);
  return text.replace(/\s*\n\s*/g, ' ').trim();
}

/** Narrows a thrown value to Node's system errors: `if (isErrno(e, 'ENOENT'))`. */
export function isErrno(error: unknown, code: string): error is NodeJS.ErrnoException {
  return typeof error === 'object' && error !== null && (error as { code?: unknown }).code === code;
}
