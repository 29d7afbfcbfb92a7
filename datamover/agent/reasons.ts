import { REASONS, RETRYABLE_REASONS, type Reason } from '../../api/names.ts';
import { DatamoverError, type FailureDetails, type FailureKind } from '../errors.ts';

/** A failure of a transfer with the word that its condition and its event carry. */
export class TransferFailure extends DatamoverError {
  readonly reason: Reason;
  /** Whether the bytes that were read back were not those that had been written. */
  readonly foundWrong: boolean;

  /** `doing`: what the child was at, in its own words. */
  constructor(
    details: Omit<FailureDetails, 'retryable'> & { readonly reason: Reason; readonly doing?: unknown },
  ) {
    super({ ...details, retryable: RETRYABLE_REASONS.has(details.reason) });
    this.reason = details.reason;
    this.foundWrong = details.doing === 'verify' && details.kind === 'incomplete';
  }
}

/** What the command says of its failure in its `exit_error` (docs/cli.md). */
export interface ExitError {
  readonly kind: FailureKind;
  readonly retryable: boolean;
  readonly operation?: unknown;
  /** What the store said, where it was the store. */
  readonly store?: unknown;
}

/** The one word for a failure. Whether the word is among RETRYABLE_REASONS decides whether the controller tries again. */
export function reasonOf({ kind, retryable, operation, store }: ExitError): Reason {
  switch (kind) {
    case 'cancelled':
      return REASONS.canceled;
    case 'wrong-password':
      return REASONS.wrongPassword;
    case 'no-repository':
      return REASONS.repositoryMissing;
    case 'locked':
      return REASONS.repositoryLocked;
    case 'target-too-small':
      return REASONS.targetTooSmall;
    case 'target-in-use':
      return REASONS.targetInUse;
    case 'failed':
    case 'usage':
    case 'incomplete':
      if (operation === 'find snapshot') return REASONS.backupMissing;
      if (store !== undefined && retryable) return REASONS.storeUnavailable;
      return retryable ? REASONS.transferFailed : REASONS.error;
  }
}
