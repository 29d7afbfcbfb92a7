import { REASONS, RETRYABLE_REASONS, type Reason } from '../../api/names.ts';
import { DatamoverError, describeCause, type FailureDetails } from '../errors.ts';

/** Why a transfer does not go on, with the word that conditions and events carry. */
export class TransferFailure extends DatamoverError {
  readonly reason: Reason;

  constructor(details: FailureDetails & { readonly reason: Reason }) {
    super({ ...details, retryable: details.retryable ?? isPassing(details.reason) });
    this.reason = details.reason;
  }
}

/** Reasons that may pass by themselves. */
function isPassing(reason: Reason): boolean {
  return (
    RETRYABLE_REASONS.has(reason) || reason === REASONS.snapshotMissing || reason === REASONS.snapshotNotReady
  );
}

/** The reason, sentence and prospects of whatever was thrown. */
export function explainFailure(error: unknown): {
  readonly reason: Reason;
  readonly message: string;
  readonly retryable: boolean;
} {
  const message = describeCause(error).slice(0, LONGEST_MESSAGE);
  if (error instanceof TransferFailure) return { reason: error.reason, message, retryable: error.retryable };
  // What nobody has thought of may pass: a limit in time ends it.
  const retryable = !(error instanceof DatamoverError) || error.retryable || error.kind !== 'usage';
  return { reason: REASONS.error, message, retryable };
}

/** Of `status.message` (K-22). */
export const LONGEST_MESSAGE = 4096;
