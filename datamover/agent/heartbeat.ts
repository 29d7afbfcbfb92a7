import { pause } from '../kubernetes/backoff.ts';
import type { LeaseClaim } from '../kubernetes/lease.ts';
import type { LeaseTerm } from '../process/lease-line.ts';

export interface Heartbeat {
  /** Fires when the lease is lost or about to run out: whoever works under it must have ended when it has. */
  readonly lost: AbortSignal;
  /** For the child, in case that we stand still. */
  readonly term: LeaseTerm;
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
    get term() {
      return { remainingMs: claim.remainingMs, reserveMs: reserveOf(claim) };
    },
    async release() {
      stop.abort();
      await renewing;
      // Bounded, so that an agent that ends is not held up by a server that is gone: the lease runs out by itself.
      await claim.release(AbortSignal.timeout(5_000)).catch(onFailure);
    },
  };
}

function reserveOf({ durationMs }: LeaseClaim): number {
  return durationMs / 3;
}

/**
 * A third of the lease's time is left to those who work under it: a child gets SIGTERM and, 5 s later, SIGKILL. One that waits in
 * the kernel ends by neither. So what was nearly lost is renewed again when the server answers and nobody else has taken it: as long
 * as it is not released somebody may be at work under it.
 */
async function renew(
  claim: LeaseClaim,
  stop: AbortSignal,
  lost: AbortController,
  onFailure: (error: unknown) => void,
): Promise<void> {
  const reserveMs = reserveOf(claim);
  const beatMs = claim.durationMs / 6;
  /** Until those who work under it must be told. */
  const left = (): number =>
    lost.signal.aborted ? claim.durationMs : Math.max(1, Math.ceil(claim.remainingMs - reserveMs));
  while (!stop.aborted) {
    await pause(Math.min(beatMs, left()), stop);
    if (isAborted(stop)) return;
    try {
      if (await claim.acquireOrRenew(AbortSignal.any([stop, AbortSignal.timeout(left())]))) continue;
      // Another one's.
      lost.abort();
      return;
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
