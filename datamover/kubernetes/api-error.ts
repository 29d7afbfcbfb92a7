import { DatamoverError, type FailureDetails } from '../errors.ts';

/** How the API answered, as far as callers act on it. */
export type ApiErrorReason =
  /** No such object, or (yet) no such kind. 404 */
  | 'missing'
  /** It has changed since it was read, or another field manager owns a field. 409 */
  | 'conflict'
  /** An object of that name is there already. 409 */
  | 'exists'
  /** No rights to do this. 403 */
  | 'forbidden'
  /** The credentials are not known (any more). 401 */
  | 'unauthorized'
  /** The server does not accept what it was given. 400, 413, 415, 422 */
  | 'invalid'
  /** The version or continuation asked for is no longer in the server's history: list again. 410 */
  | 'gone'
  /** It is there, but cannot do it now. 429, 5xx */
  | 'unavailable'
  /** No answer: refused, cut off or too late. What was asked may have been done all the same. */
  | 'unreachable'
  /** Given up at the caller's wish. */
  | 'cancelled';

const RETRYABLE: readonly ApiErrorReason[] = [
  'conflict',
  'gone',
  'unavailable',
  'unreachable',
  'unauthorized',
];

export class ApiError extends DatamoverError {
  readonly reason: ApiErrorReason;
  /** How long the server asks to wait before the next try, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(details: FailureDetails & { reason: ApiErrorReason; retryAfterMs?: number | undefined }) {
    const { reason } = details;
    super({
      ...details,
      kind: reason === 'cancelled' ? 'cancelled' : 'failed',
      retryable: RETRYABLE.includes(reason),
    });
    this.reason = reason;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Whether the API refused for one of these reasons: `if (isApiError(error, 'missing'))`. */
export function isApiError(error: unknown, ...reasons: readonly ApiErrorReason[]): error is ApiError {
  return error instanceof ApiError && (reasons.length === 0 || reasons.includes(error.reason));
}

/** The value, or undefined when there is no such object: `await orMissing(client.get('ns', 'name'))`. */
export async function orMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isApiError(error, 'missing')) return undefined;
    throw error;
  }
}

/** meta/v1 Status, the body of failures. */
export interface ApiStatus {
  readonly kind?: string;
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: { readonly retryAfterSeconds?: number };
}

/** Classifies a failed answer by its HTTP status and its Status body. */
export function reasonOf(code: number, status: ApiStatus): ApiErrorReason {
  if (status.reason === 'AlreadyExists') return 'exists';
  switch (code) {
    case 401:
      return 'unauthorized';
    case 403:
      return 'forbidden';
    case 404:
      return 'missing';
    case 409:
      return 'conflict';
    case 410:
      return 'gone';
    default:
      return code === 429 || code >= 500 ? 'unavailable' : 'invalid';
  }
}
