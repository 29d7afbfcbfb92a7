import { cancelled, StoreFailure } from '../failure.ts';
import { networkFailure } from './failures.ts';

/** A call of the store, as its failures name it. */
export interface Call {
  readonly operation: string;
  readonly subject: string;
  readonly signal?: AbortSignal | undefined;
}

/** Looks after a request under way: that bytes move and that the caller still wants it. Ends it otherwise. */
export class Watch {
  readonly #call: Call;
  readonly #stallMs: number;
  readonly #onEnd: (failure: StoreFailure) => void;
  #timer: NodeJS.Timeout;
  /** Why we ended it ourselves; the socket's own error then says nothing more. */
  #ended: StoreFailure | undefined;
  /** How many things are waited for that are not the server's fault. */
  #outside = 0;
  #over = false;

  /** `onEnd` must break the connection. */
  constructor(call: Call, stallMs: number, onEnd: (failure: StoreFailure) => void) {
    this.#call = call;
    this.#stallMs = stallMs;
    this.#onEnd = onEnd;
    this.#timer = setTimeout(this.#stalled, stallMs);
    call.signal?.addEventListener('abort', this.#aborted, { once: true });
  }

  /** Bytes have moved. */
  moved(): void {
    if (this.#outside === 0) this.#timer.refresh();
  }

  /** Waits for something that is not the server's fault. */
  async outside(waiting: Promise<void>): Promise<void> {
    this.#outside += 1;
    clearTimeout(this.#timer);
    await waiting;
    this.#outside -= 1;
    if (this.#outside === 0 && !this.#over) this.#timer = setTimeout(this.#stalled, this.#stallMs);
  }

  /** What an error of the connection means. */
  failure(error: unknown): StoreFailure {
    return this.#ended ?? networkFailure(this.#call.operation, this.#call.subject, error);
  }

  done(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#call.signal?.removeEventListener('abort', this.#aborted);
  }

  readonly #aborted = (): void => {
    this.#end(cancelled(this.#call.operation, this.#call.subject));
  };

  readonly #stalled = (): void => {
    const { operation, subject } = this.#call;
    const cause = `no byte moved for ${this.#stallMs / 1000} s`;
    this.#end(new StoreFailure({ operation, subject, cause, reason: 'stalled' }));
  };

  #end(failure: StoreFailure): void {
    this.#ended ??= failure;
    this.#onEnd(failure);
  }
}
