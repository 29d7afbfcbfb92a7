import { delay } from './delay.ts';
import { Slots } from './slots.ts';

export interface BackOffOptions {
  /** Calls at once while all is well. */
  readonly concurrency: number;
  /** The first pause after a refusal, in milliseconds; each further one in a row is twice as long. */
  readonly baseMs: number;
  /** The longest pause of our own choice, in milliseconds. A server's Retry-After may ask for more. */
  readonly maxMs: number;
  /** 0 <= random() < 1. */
  readonly random: () => number;
}

/** A call in flight. */
export interface Ticket {
  readonly startedAt: number;
}

/**
 * What all calls of a store know together about a server that is too busy. A refusal stops all new calls for a while and halves
 * how many may run at once; successes raise that by one each round. So one worker's 503 spares the others theirs.
 */
export class BackOff {
  readonly #options: BackOffOptions;
  readonly #slots: Slots;
  #resumeAt = 0;
  #refusals = 0;
  #refusedAt = 0;
  #successes = 0;

  constructor(options: BackOffOptions) {
    this.#options = options;
    this.#slots = new Slots(options.concurrency);
  }

  /** How many calls may run at once at this moment. */
  get concurrency(): number {
    return this.#slots.limit;
  }

  /** Waits for a pause to end and for a free slot. Undefined if the signal fired first. */
  async enter(signal?: AbortSignal): Promise<Ticket | undefined> {
    while (await this.#slots.take(signal)) {
      const rest = this.#resumeAt - performance.now();
      if (rest <= 0) return { startedAt: performance.now() };
      this.#slots.give();
      await delay(rest, signal);
    }
    return undefined;
  }

  leave(): void {
    this.#slots.give();
  }

  succeeded(): void {
    this.#refusals = 0;
    this.#successes++;
    if (this.#successes >= this.#slots.limit && this.#slots.limit < this.#options.concurrency) {
      this.#slots.limit++;
      this.#successes = 0;
    }
  }

  /** The server asked for less. Calls that were under way when it did so first do not count again. */
  refused({ startedAt }: Ticket, retryAfterMs = 0): void {
    const now = performance.now();
    if (startedAt >= this.#refusedAt) {
      this.#refusedAt = now;
      this.#successes = 0;
      this.#slots.limit = Math.floor(this.#slots.limit / 2);
      this.#resumeAt = Math.max(this.#resumeAt, now + this.pause(this.#refusals++));
    }
    this.#resumeAt = Math.max(this.#resumeAt, now + retryAfterMs);
  }

  /** The pause before the repetition number `attempt` (from 0) in milliseconds: exponential, a random half of it. */
  pause(attempt: number): number {
    const { baseMs, maxMs, random } = this.#options;
    const full = Math.min(maxMs, baseMs * 2 ** attempt);
    return full / 2 + (random() * full) / 2;
  }
}
