import { DatamoverError, describeCause } from '../errors.ts';

/**
 * Why everything is to be read where a base cannot be loaded: else each backup to come would be refused until somebody looks.
 * What may pass by itself is no damage, and is thrown. `base`: for messages.
 */
export function damageOf(base: string, error: unknown): string {
  if (!(error instanceof DatamoverError) || error.retryable || error.kind === 'cancelled') throw error;
  const where = error.subject === undefined || error.subject === base ? '' : `${error.subject}: `;
  return `${base} is damaged: ${where}${describeCause(error.cause)}`;
}
