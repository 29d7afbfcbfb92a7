import { DatamoverError } from '../errors.ts';
import { findStoreFailure } from '../store/failure.ts';

/**
 * Whether an error of reading says that the repository is damaged: a file is missing or shorter than it must be, or its bytes are wrong.
 * A store that cannot be reached, forbids or was told to stop says nothing about the repository, and nothing may be concluded from it.
 */
export function isDamage(error: unknown): error is DatamoverError {
  if (!(error instanceof DatamoverError) || error.retryable || error.kind === 'cancelled') return false;
  const failure = findStoreFailure(error);
  return failure === undefined || failure.reason === 'missing' || failure.reason === 'range';
}
