import type { DataMovePhase } from '../../../api/neighbours/velero.ts';
import { FINAL_PHASES } from '../../../api/transfer.ts';

/** A DataUpload or DataDownload, and the transfer that does its work, as far as the next step depends on them. */
export interface MoveView {
  /** For sentences: `restore shop/db`. */
  readonly what: string;
  readonly phase: DataMovePhase | '' | undefined;
  readonly cancel: boolean;
  readonly deleted: boolean;
  readonly hasFinalizer: boolean;
  /** Milliseconds since it was accepted. */
  readonly acceptedForMs: number;
  readonly timeoutMs: number;
  /** Undefined before it was made. */
  readonly transfer:
    | {
        readonly phase: string | undefined;
        readonly cancel: boolean;
        readonly carried: boolean;
        readonly message: string | undefined;
      }
    | undefined;
  /** What is in the way of making the transfer; `final` where it stays. */
  readonly obstacle: { readonly cause: string; readonly final: boolean } | undefined;
}

export type MoveStep =
  | { readonly do: 'leave' }
  | { readonly do: 'wait' }
  | { readonly do: 'accept' }
  | { readonly do: 'makeTransfer' }
  | { readonly do: 'cancelTransfer' }
  /** Progress, node and phase as the transfer has them. */
  | { readonly do: 'mirror'; readonly phase: 'Accepted' | 'InProgress' | 'Canceling' }
  | { readonly do: 'end'; readonly phase: 'Completed' | 'Failed' | 'Canceled'; readonly message: string }
  /** Snapshot and transfer go, then the finalizer. */
  | { readonly do: 'letGo' };

/** What Velero's object needs next (its contract for data movers of others). */
export function planMove(view: MoveView): MoveStep {
  const { phase, transfer, obstacle } = view;
  if (hasEnded(phase)) return view.hasFinalizer ? { do: 'letGo' } : { do: 'leave' };
  const unwanted = view.cancel || view.deleted;
  if (phase === undefined || phase === '' || phase === 'New' || !view.hasFinalizer) {
    // Also one that is canceled already: what Velero left to the mover with it has to go.
    return view.deleted ? { do: 'leave' } : { do: 'accept' };
  }
  if (transfer === undefined) {
    if (unwanted) return { do: 'end', phase: 'Canceled', message: `${view.what}: it was canceled` };
    if (obstacle === undefined) return { do: 'makeTransfer' };
    if (!obstacle.final && view.acceptedForMs < view.timeoutMs) return { do: 'wait' };
    return { do: 'end', phase: 'Failed', message: obstacle.cause };
  }
  const ended = FINAL_PHASES.find((final) => final === transfer.phase);
  switch (ended) {
    case 'Completed':
      return { do: 'end', phase: 'Completed', message: '' };
    case 'Canceled':
      // Nobody here asked for it: Velero has to hear of a failure.
      return unwanted
        ? { do: 'end', phase: 'Canceled', message: `${view.what}: it was canceled` }
        : { do: 'end', phase: 'Failed', message: told(transfer.message) };
    case 'Failed':
    case 'PartiallyFailed':
      return { do: 'end', phase: 'Failed', message: told(transfer.message) };
    case undefined:
      if (unwanted && !transfer.cancel) return { do: 'cancelTransfer' };
      if (unwanted) return { do: 'mirror', phase: 'Canceling' };
      return { do: 'mirror', phase: transfer.carried ? 'InProgress' : 'Accepted' };
  }
}

/** Nothing becomes of it any more. */
export function hasEnded(phase: MoveView['phase']): boolean {
  return phase === 'Completed' || phase === 'Failed' || phase === 'Canceled';
}

/** Velero counts a failure without a message as a success. */
function told(message: string | undefined): string {
  return message === undefined || message === '' ? 'the transfer ended without saying why' : message;
}

/** `10m0s`, `1h30m`, as Go prints durations, in milliseconds; `otherwise` where it is none. */
export function durationMs(text: string | undefined, otherwise: number): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  if (text === undefined || !/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return otherwise;
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, digits, unit = '']) => sum + Number(digits) * (units[unit] ?? 0),
    0,
  );
}
