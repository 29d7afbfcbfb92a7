import { Backoff, type BackoffOptions } from './backoff.ts';

export interface WorkQueueOptions {
  /** Waits of a key that fails again and again; 100 ms up to 5 minutes without it. */
  readonly backoff?: BackoffOptions;
}

const BACKOFF: BackoffOptions = { firstMs: 100, maxMs: 300_000 };

/**
 * Keys that want work, first come, first served. A key waits at most once however often it is added, and is never handed to two
 * workers at a time: added while it is being worked on, it comes again afterwards.
 */
export class WorkQueue {
  readonly #backoff: BackoffOptions;
  readonly #waiting = new Set<string>();
  /** With when their work began. */
  readonly #active = new Map<string, number>();
  /** Keys that were added while they were worked on. */
  readonly #again = new Set<string>();
  readonly #delayed = new Map<string, { readonly at: number; readonly timer: NodeJS.Timeout }>();
  readonly #failing = new Map<string, Backoff>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  constructor(options: WorkQueueOptions = {}) {
    this.#backoff = options.backoff ?? BACKOFF;
  }

  /** Keys that wait, without those whose time has not come. */
  get length(): number {
    return this.#waiting.size + this.#again.size;
  }

  /** The key that is being worked on for the longest time, if any is. */
  get longest(): { readonly key: string; readonly forMs: number } | undefined {
    // In the order of their beginning.
    const [first] = this.#active;
    return first === undefined ? undefined : { key: first[0], forMs: performance.now() - first[1] };
  }

  add(key: string): void {
    if (this.#closed) return;
    this.#undelay(key);
    if (this.#active.has(key)) {
      this.#again.add(key);
      return;
    }
    const taker = this.#takers.shift();
    if (taker === undefined) this.#waiting.add(key);
    else this.#hand(key, taker);
  }

  /** Adds the key when this time has passed; of several times the soonest counts. */
  addAfter(key: string, milliseconds: number): void {
    if (this.#closed) return;
    const at = performance.now() + milliseconds;
    const known = this.#delayed.get(key);
    if (known !== undefined && known.at <= at) return;
    this.#undelay(key);
    // Node fires at once a timer that is longer than this.
    const timer = setTimeout(() => this.add(key), Math.min(milliseconds, 2 ** 31 - 1));
    this.#delayed.set(key, { at, timer });
  }

  /** Adds the key after its work has failed: each time in a row later. */
  addFailed(key: string): void {
    const backoff = this.#failing.get(key) ?? new Backoff(this.#backoff);
    this.#failing.set(key, backoff);
    this.addAfter(key, backoff.next());
  }

  /** The key's work has succeeded: its next failure is a first one. */
  forget(key: string): void {
    this.#failing.delete(key);
  }

  /** The next key, when there is one; undefined when the queue is closed. Every key taken must be given to `done`. */
  take(): Promise<string | undefined> {
    const [key] = this.#waiting;
    if (key === undefined) {
      if (this.#closed) return Promise.resolve(undefined);
      return new Promise((resolve) => this.#takers.push(resolve));
    }
    this.#waiting.delete(key);
    this.#active.set(key, performance.now());
    return Promise.resolve(key);
  }

  /** The work on a taken key has ended. */
  done(key: string): void {
    this.#active.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /** Hands out nothing more; whoever waits in `take` gets undefined. */
  close(): void {
    this.#closed = true;
    this.#waiting.clear();
    this.#again.clear();
    for (const key of [...this.#delayed.keys()]) this.#undelay(key);
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #hand(key: string, taker: (key: string) => void): void {
    this.#active.set(key, performance.now());
    taker(key);
  }

  #undelay(key: string): void {
    clearTimeout(this.#delayed.get(key)?.timer);
    this.#delayed.delete(key);
  }
}

/** What a reconciler wants after it has succeeded: to be called again after this time, or only when something changes. */
export type Reconciled = { readonly againAfterMs: number } | undefined;

export interface WorkerOptions {
  readonly queue: WorkQueue;
  /** Keys worked on at the same time. */
  readonly workers: number;
  /** Does what the key needs, now. Throwing brings the key again later, each time in a row later still. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Reconciled>;
  /** Told of every throw; `key` is tried again. */
  readonly onFailure: (key: string, error: unknown) => void;
  readonly signal: AbortSignal;
}

/** Works off a queue until the signal fires; then closes it and returns when the last worker has ended. */
export async function runWorkers(options: WorkerOptions): Promise<void> {
  const { queue, signal } = options;
  const close = (): void => queue.close();
  signal.addEventListener('abort', close, { once: true });
  if (signal.aborted) close();
  await Promise.all(Array.from({ length: options.workers }, () => work(options)));
  signal.removeEventListener('abort', close);
}

async function work({ queue, reconcile, onFailure, signal }: WorkerOptions): Promise<void> {
  for (;;) {
    const key = await queue.take();
    if (key === undefined) return;
    try {
      const next = await reconcile(key, signal);
      queue.forget(key);
      if (next !== undefined) queue.addAfter(key, next.againAfterMs);
    } catch (error) {
      if (!signal.aborted) onFailure(key, error);
      queue.addFailed(key);
    } finally {
      queue.done(key);
    }
  }
}
