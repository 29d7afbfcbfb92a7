import { describeCause } from '../errors.ts';
import { BackOff } from './back-off.ts';
import { delay } from './delay.ts';
import { cancelled, findStoreFailure, StoreFailure } from './failure.ts';
import { pathOf } from './layout.ts';
import type { FileHandle, FileInfo, FileType, LoadOptions, SaveOptions, Store } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

export interface RetryOptions {
  /** A call that has not succeeded after so many milliseconds fails for good. */
  readonly deadlineMs?: number;
  /** The same for a store that has never answered yet: it is more likely misspelt than down. */
  readonly firstContactMs?: number;
  readonly baseMs?: number;
  readonly maxMs?: number;
  readonly random?: () => number;
  /** Told of each failure that will be tried again. */
  readonly onRetry?: (failure: unknown, pauseMs: number) => void;
}

const DEFAULTS = {
  deadlineMs: 15 * 60_000,
  firstContactMs: 10_000,
  baseMs: 200,
  maxMs: 30_000,
  random: Math.random,
  onRetry: (): void => undefined,
};

interface Call {
  readonly operation: string;
  readonly subject: string;
  readonly signal: AbortSignal | undefined;
}

/**
 * Repeats what may pass: broken connections, stalls, 5xx, and refusals for load (429, 503), which slow down all calls of this
 * store (see BackOff). What is permanent fails at once, cancellation ends every wait, and no call outlives its deadline.
 */
export class RetryStore extends StoreWrapper {
  readonly #options: Required<RetryOptions>;
  readonly #backOff: BackOff;
  #answered = false;

  constructor(inner: Store, options: RetryOptions = {}) {
    super(inner);
    this.#options = { ...DEFAULTS, ...options };
    this.#backOff = new BackOff({ ...this.#options, concurrency: inner.concurrency });
  }

  /** How many calls run at once at this moment: less than `concurrency` after the server asked to slow down. */
  get currentConcurrency(): number {
    return this.#backOff.concurrency;
  }

  override async create(signal?: AbortSignal): Promise<void> {
    return this.#repeat({ operation: 'create', subject: this.location, signal }, () =>
      this.inner.create(signal),
    );
  }

  override async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    return this.#repeat(this.#call('save', file, options?.signal), () =>
      this.inner.save(file, content, options),
    );
  }

  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    return this.#repeat(this.#call('load', file, options?.signal), async () => {
      const bytes = await this.inner.load(file, options);
      const wanted = options?.range?.length;
      if (wanted === undefined || wanted === bytes.length) return bytes;
      const cause = `${bytes.length} bytes came instead of ${wanted}`;
      throw new StoreFailure({ operation: 'load', subject: this.#subject(file), cause, reason: 'broken' });
    });
  }

  override async stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    return this.#repeat(this.#call('stat', file, signal), () => this.inner.stat(file, signal));
  }

  override async remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    return this.#repeat(this.#call('remove', file, signal), () => this.inner.remove(file, signal));
  }

  /**
   * A listing that breaks is begun anew, and what was handed out before is left out: one remembered name for each file, about
   * 100 bytes. The slot is held while the store works, not while the reader does: the reader may want to load.
   */
  override async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    const call = { operation: 'list', subject: this.location, signal };
    const seen = new Set<string>();
    let files: AsyncIterator<FileInfo> | undefined;
    const next = async (): Promise<FileInfo | undefined> => {
      files ??= this.inner.list(types, signal)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await files.next();
          if (next.done === true) return undefined;
          const key = `${next.value.type}/${next.value.name}`;
          if (seen.has(key)) continue;
          seen.add(key);
          return next.value;
        }
      } catch (error) {
        files = undefined;
        throw error;
      }
    };
    try {
      for (;;) {
        const file = await this.#repeat(call, next);
        if (file === undefined) return;
        yield file;
      }
    } finally {
      await files?.return?.();
    }
  }

  #subject(file: FileHandle): string {
    return `${this.location}/${pathOf(file)}`;
  }

  #call(operation: string, file: FileHandle, signal: AbortSignal | undefined): Call {
    return { operation, subject: this.#subject(file), signal };
  }

  async #repeat<T>(call: Call, attempt: () => Promise<T>): Promise<T> {
    const begun = performance.now();
    for (let failures = 0; ; failures++) {
      const ticket = await this.#backOff.enter(call.signal);
      if (ticket === undefined) throw cancelled(call.operation, call.subject);
      let failure: unknown;
      try {
        const result = await attempt();
        this.#answered = true;
        this.#backOff.succeeded();
        return result;
      } catch (error) {
        failure = error;
      } finally {
        this.#backOff.leave();
      }
      const known = findStoreFailure(failure);
      if (known === undefined || (known.reason !== 'unreachable' && known.reason !== 'stalled'))
        this.#answered = true;
      if (this.inner.isPermanent(failure)) throw failure;
      if (known?.reason === 'throttled') this.#backOff.refused(ticket, known.retryAfterMs);
      await this.#pause(call, begun, failures, failure);
    }
  }

  /** Waits before the next attempt, or throws if there is to be none. */
  async #pause(call: Call, begun: number, failures: number, failure: unknown): Promise<void> {
    const pause = Math.max(this.#backOff.pause(failures), findStoreFailure(failure)?.retryAfterMs ?? 0);
    const patience = this.#answered ? this.#options.deadlineMs : this.#options.firstContactMs;
    const spent = performance.now() - begun;
    if (spent + pause > patience) throw this.#givenUp(call, failures + 1, spent, failure);
    this.#options.onRetry(failure, pause);
    await delay(pause, call.signal);
    if (call.signal?.aborted === true) throw cancelled(call.operation, call.subject);
  }

  #givenUp(call: Call, attempts: number, spentMs: number, failure: unknown): unknown {
    const known = findStoreFailure(failure);
    if (known === undefined || attempts === 1) return failure;
    const { operation, subject, hint, reason, code, retryAfterMs, cause } = known;
    return new StoreFailure({
      operation,
      subject: subject ?? call.subject,
      cause: `${describeCause(cause)}, ${attempts} attempts in ${Math.round(spentMs / 1000)} s`,
      ...(hint === undefined ? {} : { hint }),
      reason,
      code,
      retryAfterMs,
    });
  }
}
