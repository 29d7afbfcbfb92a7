import { pause } from '../kubernetes/backoff.ts';
import type { LeaseClaim } from '../kubernetes/lease.ts';

export interface Heartbeat {
  /** Fires when the lease is lost or about to run out: whoever works under it must have ended when it has. */
  readonly lost: AbortSignal;
  /** Ends the renewing and gives the lease away, if it is ours. */
  release(): Promise<void>;
}

/**
 * Takes a lease and keeps it. Undefined where somebody else holds it: tried again, it must be with the same `claim`, which knows for
 * how long nobody has renewed it. Throws an ApiError where the server does not answer.
 */
export async function beginHeartbeat(
  claim: LeaseClaim,
  onFailure: (error: unknown) => void,
): Promise<Heartbeat | undefined> {
  if (!(await claim.acquireOrRenew())) return undefined;
  const stop = new AbortController();
  const lost = new AbortController();
  const renewing = renew(claim, stop.signal, lost, onFailure);
  return {
    lost: lost.signal,
    async release() {
      stop.abort();
      await renewing;
      // Bounded, so that an agent that ends is not held up by a server that is gone: the lease runs out by itself.
      await claim.release(AbortSignal.timeout(5_000)).catch(onFailure);
    },
  };
}

/** A third of the lease's time is left to those who work under it: a child gets SIGTERM and, 5 s later, SIGKILL. */
async function renew(
  claim: LeaseClaim,
  stop: AbortSignal,
  lost: AbortController,
  onFailure: (error: unknown) => void,
): Promise<void> {
  const reserveMs = claim.durationMs / 3;
  while (!stop.aborted && !lost.signal.aborted) {
    await pause(Math.min(claim.durationMs / 6, Math.max(1, claim.remainingMs - reserveMs)), stop);
    if (isAborted(stop)) return;
    try {
      const patience = AbortSignal.timeout(Math.ceil(Math.max(1, claim.remainingMs - reserveMs)));
      if (!(await claim.acquireOrRenew(AbortSignal.any([stop, patience])))) lost.abort();
    } catch (error) {
      if (isAborted(stop)) return;
      onFailure(error);
      if (claim.remainingMs <= reserveMs) lost.abort();
    }
  }
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
