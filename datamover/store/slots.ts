/** A counted set of slots whose number may change at any time; those who wait get theirs in the order they came. */
export class Slots {
  #limit: number;
  #taken = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Lowering it takes effect as slots are given back. */
  set limit(limit: number) {
    this.#limit = Math.max(1, limit);
    this.#serve();
  }

  get taken(): number {
    return this.#taken;
  }

  /** True with a slot in hand, which `give` must return; false if the signal fired first. */
  take(signal?: AbortSignal): Promise<boolean> {
    if (signal?.aborted === true) return Promise.resolve(false);
    if (this.#taken < this.#limit && this.#waiting.length === 0) {
      this.#taken++;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const served = (): void => {
        signal?.removeEventListener('abort', aborted);
        this.#taken++;
        resolve(true);
      };
      const aborted = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(served), 1);
        resolve(false);
      };
      this.#waiting.push(served);
      signal?.addEventListener('abort', aborted, { once: true });
    });
  }

  give(): void {
    this.#taken--;
    this.#serve();
  }

  #serve(): void {
    while (this.#taken < this.#limit) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      next();
    }
  }
}
