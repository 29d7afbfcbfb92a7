import type { FileHandle, FileInfo, FileType, LoadOptions, SaveOptions, Store } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

export type Operation = 'create' | 'save' | 'load' | 'stat' | 'list' | 'remove';

/** One finished call. */
export interface TraceEvent {
  readonly operation: Operation;
  /** The file, or the types listed. */
  readonly file?: FileHandle;
  readonly types?: readonly FileType[];
  /** Bytes of content moved; for `list`, the number of files. */
  readonly amount: number;
  readonly milliseconds: number;
  readonly error?: unknown;
}

export interface OperationTotals {
  calls: number;
  errors: number;
  /** Bytes of content moved; for `list`, the number of files. */
  amount: number;
  milliseconds: number;
}

/** Counts calls, bytes and time by operation, and tells `onEvent` of each call. */
export class TraceStore extends StoreWrapper {
  readonly totals: Readonly<Record<Operation, OperationTotals>> = {
    create: nothing(),
    save: nothing(),
    load: nothing(),
    stat: nothing(),
    list: nothing(),
    remove: nothing(),
  };
  readonly #onEvent: (event: TraceEvent) => void;

  constructor(inner: Store, onEvent: (event: TraceEvent) => void = () => undefined) {
    super(inner);
    this.#onEvent = onEvent;
  }

  override create(signal?: AbortSignal): Promise<void> {
    return this.#observe('create', {}, () => this.inner.create(signal));
  }

  override save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    const amount = (): number => content.length;
    return this.#observe('save', { file }, () => this.inner.save(file, content, options), amount);
  }

  override load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    return this.#observe(
      'load',
      { file },
      () => this.inner.load(file, options),
      (bytes) => bytes.length,
    );
  }

  override stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    return this.#observe('stat', { file }, () => this.inner.stat(file, signal));
  }

  override remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    return this.#observe('remove', { file }, () => this.inner.remove(file, signal));
  }

  override async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    const begun = performance.now();
    let amount = 0;
    let failed: { error?: unknown } = {};
    try {
      for await (const file of this.inner.list(types, signal)) {
        amount++;
        yield file;
      }
    } catch (error) {
      failed = { error };
      throw error;
    } finally {
      this.#finish({ operation: 'list', types, amount, milliseconds: performance.now() - begun, ...failed });
    }
  }

  async #observe<T>(
    operation: Operation,
    about: { file?: FileHandle },
    call: () => Promise<T>,
    amountOf: (result: T) => number = () => 0,
  ): Promise<T> {
    const begun = performance.now();
    try {
      const result = await call();
      this.#finish({
        operation,
        ...about,
        amount: amountOf(result),
        milliseconds: performance.now() - begun,
      });
      return result;
    } catch (error) {
      this.#finish({ operation, ...about, amount: 0, milliseconds: performance.now() - begun, error });
      throw error;
    }
  }

  #finish(event: TraceEvent): void {
    const totals = this.totals[event.operation];
    totals.calls++;
    totals.amount += event.amount;
    totals.milliseconds += event.milliseconds;
    if ('error' in event) totals.errors++;
    this.#onEvent(event);
  }
}

function nothing(): OperationTotals {
  return { calls: 0, errors: 0, amount: 0, milliseconds: 0 };
}
