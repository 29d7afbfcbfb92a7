import { setTimeout as delay } from 'node:timers/promises';

export interface BackoffOptions {
  /** The first wait, in milliseconds. */
  readonly firstMs: number;
  readonly maxMs: number;
}

/** Waits that double up to a limit, each between half and all of it, so that clients of a server that comes back do not march in step. */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** The next wait, in milliseconds. */
  next(): number {
    const { firstMs, maxMs } = this.#options;
    const wait = Math.min(maxMs, firstMs * 2 ** this.#failures);
    // 2^30 times any first wait is beyond every limit.
    this.#failures = Math.min(this.#failures + 1, 30);
    return wait * (0.5 + Math.random() / 2);
  }

  /** After a success. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Waits; returns at once, and without an error, when the signal fires. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal }).catch(() => undefined);
}
