import { DatamoverError, type FailureDetails } from '../errors.ts';

/** Why a call of a store failed, as far as the layers above need to tell. */
export type StoreFailureReason =
  /** The file is not there. */
  | 'missing'
  /** The bucket (or the folder of the repository) is not there. */
  | 'no-place'
  /** Keys, policy or file permissions do not allow it. */
  | 'forbidden'
  /** The range reaches beyond the end of the file. */
  | 'range'
  /** Disk or quota is full. */
  | 'full'
  /** The request makes no sense to the other side, or its answer none to us. */
  | 'refused'
  /** TLS: the certificate is not trusted, or the other side does not speak TLS. */
  | 'untrusted'
  /** The caller gave up. */
  | 'cancelled'
  /** Asked to slow down: 429, 503, `SlowDown`. */
  | 'throttled'
  /** No connection: refused, name unknown, no route. */
  | 'unreachable'
  /** Nothing moved for too long. */
  | 'stalled'
  /** The connection broke, the server failed, or the answer came incomplete. */
  | 'broken';

const PASSING: ReadonlySet<StoreFailureReason> = new Set(['throttled', 'unreachable', 'stalled', 'broken']);

export interface StoreFailureDetails extends Omit<FailureDetails, 'retryable'> {
  reason: StoreFailureReason;
  /** The other side's own word for it: an S3 error code, an errno. */
  code?: string | undefined;
  /** How long the server asked to be left alone, in milliseconds. */
  retryAfterMs?: number | undefined;
  /** The region that S3 named as the right one. */
  region?: string | undefined;
}

/** What every store of this folder throws. */
export class StoreFailure extends DatamoverError {
  readonly reason: StoreFailureReason;
  readonly code: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly region: string | undefined;

  constructor(details: StoreFailureDetails) {
    super({
      ...details,
      kind: details.kind ?? kindOf(details.reason),
      // Not for the next second, but for whoever tries again in a while: clocks are set.
      retryable: PASSING.has(details.reason) || details.code === 'RequestTimeTooSkewed',
    });
    this.reason = details.reason;
    this.code = details.code;
    this.retryAfterMs = details.retryAfterMs;
    this.region = details.region;
  }
}

function kindOf(reason: StoreFailureReason): 'cancelled' | 'no-repository' | 'failed' {
  if (reason === 'cancelled') return 'cancelled';
  return reason === 'no-place' ? 'no-repository' : 'failed';
}

/** The store's failure in a chain of causes, whoever wrapped it. */
export function findStoreFailure(error: unknown): StoreFailure | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof StoreFailure) return at;
  }
  return undefined;
}

export function isMissing(error: unknown): boolean {
  return findStoreFailure(error)?.reason === 'missing';
}

/** What is not a store's failure is a bug or a usage error: asking again would not help. */
export function isPermanent(error: unknown): boolean {
  const failure = findStoreFailure(error);
  return failure === undefined || !PASSING.has(failure.reason);
}

export function cancelled(operation: string, subject: string): StoreFailure {
  return new StoreFailure({ operation, subject, cause: 'stopped', reason: 'cancelled' });
}

/** Throws `cancelled` if the caller has given up. */
export function stopIfAborted(signal: AbortSignal | undefined, operation: string, subject: string): void {
  if (signal?.aborted === true) throw cancelled(operation, subject);
}
