interface Waiting {
  readonly bytes: number;
  readonly go: () => void;
}

/** How long a silence may save up for a burst, in seconds of the rate. */
const BURST_SECONDS = 0.1;

/**
 * A token bucket over bytes, shared by all transfers in one direction. A piece may pass as soon as the bucket is above zero and
 * takes its size out of it, so that pieces larger than the bucket pass too, and the average is the rate.
 */
export class ByteRate {
  #bytesPerSecond: number | undefined;
  #tokens = 0;
  #filledAt = performance.now();
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Undefined: no limit. */
  constructor(bytesPerSecond?: number) {
    this.bytesPerSecond = bytesPerSecond;
  }

  get bytesPerSecond(): number | undefined {
    return this.#bytesPerSecond;
  }

  /** May change while transfers run; those that wait feel it at once. */
  set bytesPerSecond(rate: number | undefined) {
    if (rate !== undefined && !(rate > 0)) throw new RangeError(`a rate of ${rate} bytes/s would never end`);
    this.#fill();
    this.#bytesPerSecond = rate;
    this.#tokens = Math.min(this.#tokens, 0);
    this.#serve();
  }

  /** Undefined: go ahead. A promise: go ahead when it is fulfilled, also if the signal fires, for the caller looks at it. */
  take(bytes: number, signal?: AbortSignal): Promise<void> | undefined {
    if (this.#bytesPerSecond === undefined) return undefined;
    this.#fill();
    if (this.#waiting.length === 0 && this.#tokens > 0) {
      this.#tokens -= bytes;
      return undefined;
    }
    return new Promise((resolve) => {
      const go = (): void => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const waiting: Waiting = { bytes, go };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        this.#serve();
        resolve();
      };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', leave, { once: true });
      this.#serve();
    });
  }

  #fill(): void {
    const now = performance.now();
    const rate = this.#bytesPerSecond;
    if (rate !== undefined) {
      this.#tokens = Math.min(rate * BURST_SECONDS, this.#tokens + (rate * (now - this.#filledAt)) / 1000);
    }
    this.#filledAt = now;
  }

  /** Lets pass who may, and comes back when the next one may. */
  #serve(): void {
    clearTimeout(this.#timer);
    this.#fill();
    while (this.#bytesPerSecond === undefined || this.#tokens > 0) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (this.#bytesPerSecond !== undefined) this.#tokens -= next.bytes;
      next.go();
    }
    if (this.#waiting.length === 0) return;
    const ms = Math.ceil((-this.#tokens / this.#bytesPerSecond) * 1000);
    this.#timer = setTimeout(() => this.#serve(), ms + 1);
  }
}
