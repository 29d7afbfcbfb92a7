import { ByteRate } from './byte-rate.ts';
import { cancelled } from './failure.ts';
import { Slots } from './slots.ts';
import type { FileHandle, FileInfo, FileType, LoadOptions, Pace, SaveOptions, Store } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

/** The limits of one process: several stores may share them, and each may change while transfers run. */
export class Limits {
  /** Bytes of file content per second; undefined: no limit. */
  readonly upload: ByteRate;
  readonly download: ByteRate;
  readonly #requests: Slots;

  constructor(
    limits: {
      upload?: number | undefined;
      download?: number | undefined;
      requests?: number | undefined;
    } = {},
  ) {
    this.upload = new ByteRate(limits.upload);
    this.download = new ByteRate(limits.download);
    this.#requests = new Slots(limits.requests ?? Infinity);
  }

  /** How many requests may be under way at once. */
  get requests(): number {
    return this.#requests.limit;
  }

  set requests(limit: number) {
    this.#requests.limit = limit;
  }

  /** Runs `request` in a slot. */
  async within<T>(
    operation: string,
    subject: string,
    signal: AbortSignal | undefined,
    request: () => Promise<T>,
  ): Promise<T> {
    if (!(await this.#requests.take(signal))) throw cancelled(operation, subject);
    try {
      return await request();
    } finally {
      this.#requests.give();
    }
  }
}

/** Holds every transfer to the limits: bytes per second each way, and requests at once. */
export class LimitStore extends StoreWrapper {
  readonly limits: Limits;

  constructor(inner: Store, limits: Limits) {
    super(inner);
    this.limits = limits;
  }

  override get concurrency(): number {
    return Math.min(this.inner.concurrency, this.limits.requests);
  }

  override create(signal?: AbortSignal): Promise<void> {
    return this.#within('create', signal, () => this.inner.create(signal));
  }

  override save(file: FileHandle, content: Uint8Array, options: SaveOptions = {}): Promise<void> {
    return this.#within('save', options.signal, async () => {
      const meter = new Meter(this.limits.upload, options);
      await this.inner.save(file, content, { ...options, pace: meter.pace });
      await meter.settle(content.length);
    });
  }

  override load(file: FileHandle, options: LoadOptions = {}): Promise<Uint8Array> {
    return this.#within('load', options.signal, async () => {
      const meter = new Meter(this.limits.download, options);
      const bytes = await this.inner.load(file, { ...options, pace: meter.pace });
      await meter.settle(bytes.length);
      return bytes;
    });
  }

  override stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    return this.#within('stat', signal, () => this.inner.stat(file, signal));
  }

  override remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    return this.#within('remove', signal, () => this.inner.remove(file, signal));
  }

  /** A slot is held while the store works, not while the reader of the listing does: the reader may want to load. */
  override async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    const files = this.inner.list(types, signal)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.#within('list', signal, () => files.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await files.return?.();
    }
  }

  #within<T>(operation: string, signal: AbortSignal | undefined, request: () => Promise<T>): Promise<T> {
    return this.limits.within(operation, this.location, signal, request);
  }
}

/** Charges one transfer to a rate: piece by piece where the store asks, the rest when it is done. */
class Meter {
  readonly #rate: ByteRate;
  readonly #options: SaveOptions;
  #charged = 0;

  constructor(rate: ByteRate, options: SaveOptions) {
    this.#rate = rate;
    this.#options = options;
  }

  readonly pace: Pace = (bytes) => {
    this.#charged += bytes;
    const outer = this.#options.pace?.(bytes);
    const own = this.#rate.take(bytes, this.#options.signal);
    if (outer === undefined) return own;
    return own === undefined ? outer : Promise.all([outer, own]).then(() => undefined);
  };

  async settle(bytes: number): Promise<void> {
    const rest = bytes - this.#charged;
    if (rest > 0) await this.pace(rest);
  }
}
