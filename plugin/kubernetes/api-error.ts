/** How the API server answered, as far as actions act on it. */
export type ApiErrorReason =
  /** No such object, no such namespace, or no such kind. 404 */
  | 'missing'
  /** An object of that name is there already. 409 */
  | 'exists'
  /** It has changed since it was read. 409 */
  | 'conflict'
  /** No rights to do this. 401, 403 */
  | 'forbidden'
  /** The server does not accept what it was given. Other 4xx */
  | 'invalid'
  /** It is there, but cannot do it now. 429, 5xx */
  | 'unavailable'
  /** No answer: refused, cut off or too late. What was asked may have been done all the same. */
  | 'unreachable';

/** A request that failed, as one sentence: what was done to what, and what the server said. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly reason: ApiErrorReason;

  constructor(doing: string, reason: ApiErrorReason, said: string) {
    super(`${doing}: ${said}`);
    this.reason = reason;
  }
}

export function isApiError(error: unknown, ...reasons: readonly ApiErrorReason[]): error is ApiError {
  return error instanceof ApiError && (reasons.length === 0 || reasons.includes(error.reason));
}

/** Classifies a failed answer by its HTTP status and the `reason` of its Status body. */
export function reasonOf(code: number, statusReason: string | undefined): ApiErrorReason {
  if (code === 404) return 'missing';
  if (code === 409) return statusReason === 'AlreadyExists' ? 'exists' : 'conflict';
  if (code === 401 || code === 403) return 'forbidden';
  return code === 429 || code >= 500 ? 'unavailable' : 'invalid';
}
