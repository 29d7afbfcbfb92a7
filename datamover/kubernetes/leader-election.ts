import { DatamoverError } from '../errors.ts';
import { pause } from './backoff.ts';
import type { Client } from './client.ts';
import { LeaseClaim, type LeaseOptions } from './lease.ts';

export interface ElectionOptions extends LeaseOptions {
  /** Milliseconds between renewals, and between looks at another one's lease; a sixth of the duration without it. */
  readonly retryMs?: number;
  readonly onFailure?: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** What the leader works with. */
export interface Leadership {
  /** Fires when the leadership is over, well before another one can begin. */
  readonly signal: AbortSignal;
  /**
   * The election's client, whose writes throw as soon as the leadership may be over: also the first one after this process was held
   * up, when no timer has fired yet.
   */
  readonly client: Client;
}

/**
 * Runs `lead` while this process holds the lease, and again whenever it gets it back. Returns when the signal has fired, `lead` has
 * ended and the lease is given away. What `lead` throws ends the election and is thrown.
 */
export async function runWhenLeader(
  options: ElectionOptions,
  lead: (leadership: Leadership) => Promise<void>,
): Promise<void> {
  const { signal, onFailure = () => undefined } = options;
  const retryMs = options.retryMs ?? (options.durationSeconds * 1000) / 6;
  const claim = new LeaseClaim(options);
  while (!signal.aborted) {
    try {
      if (await claim.acquireOrRenew(signal)) await leadOnce(claim, options, retryMs, lead);
    } catch (error) {
      if (error instanceof LeaderFailure) throw error.cause;
      if (!isStopped(signal)) onFailure(error);
    }
    // Between 0.8 and 1.2 times: candidates do not ask in step.
    if (!isStopped(signal)) await pause(retryMs * (0.8 + Math.random() * 0.4), signal);
  }
}

class LeaderFailure extends Error {}

async function leadOnce(
  claim: LeaseClaim,
  options: ElectionOptions,
  retryMs: number,
  lead: (leadership: Leadership) => Promise<void>,
): Promise<void> {
  const { signal, namespace, name, onFailure = () => undefined } = options;
  const over = new AbortController();
  const stop = (): void => over.abort();
  signal.addEventListener('abort', stop, { once: true });
  const client = options.client.guarded(() => {
    if (claim.isValid && !over.signal.aborted) return;
    stop();
    throw new DatamoverError({
      operation: 'write as the leader of',
      subject: `${namespace}/${name}`,
      cause: 'the leadership is over',
      kind: 'cancelled',
    });
  });
  const renewing = renew(claim, retryMs, over, onFailure);
  try {
    await lead({ signal: over.signal, client });
  } catch (cause) {
    if (!isStopped(over.signal)) throw new LeaderFailure('lead', { cause });
  } finally {
    stop();
    signal.removeEventListener('abort', stop);
    await renewing;
    // Bounded, so that a process that ends is not held up by a server that is gone.
    await claim.release(AbortSignal.timeout(5_000)).catch(onFailure);
  }
}

/** Renews until the leadership is over, and ends it when renewing has failed for two thirds of the lease's time. */
async function renew(
  claim: LeaseClaim,
  retryMs: number,
  over: AbortController,
  onFailure: (error: unknown) => void,
): Promise<void> {
  while (!over.signal.aborted) {
    await pause(retryMs, over.signal);
    if (isStopped(over.signal)) return;
    try {
      // Whole milliseconds: Node refuses others.
      const patience = Math.ceil(Math.max(1, claim.remainingMs - claim.durationMs / 3));
      if (!(await claim.acquireOrRenew(AbortSignal.any([over.signal, AbortSignal.timeout(patience)]))))
        over.abort();
    } catch (error) {
      if (isStopped(over.signal)) return;
      onFailure(error);
      if (claim.remainingMs < claim.durationMs / 3) over.abort();
    }
  }
}

function isStopped(signal: AbortSignal): boolean {
  return signal.aborted;
}
