import { delay } from './delay.ts';
import { cancelled, StoreFailure, type StoreFailureReason } from './failure.ts';
import { pathOf } from './layout.ts';
import type { FileHandle, FileInfo, FileType, LoadOptions, SaveOptions, Store } from './store.ts';
import type { Operation } from './trace.ts';
import { StoreWrapper } from './wrapper.ts';

/** What goes wrong. */
export type Misfortune =
  /** The call fails and has done nothing. */
  | { readonly fault: 'fail'; readonly reason?: StoreFailureReason; readonly retryAfterMs?: number }
  /** `save`: only so many bytes are stored and the call fails; `load`: only so many bytes come, and nothing says so. */
  | { readonly fault: 'cut'; readonly bytes: number }
  /** The call does all its work and then fails: the answer was lost. */
  | { readonly fault: 'done-but-failed' }
  /** The call takes so much longer. */
  | { readonly fault: 'delay'; readonly ms: number }
  /** The call never ends unless it is cancelled. */
  | { readonly fault: 'hang' }
  /** `list` finds nothing. */
  | { readonly fault: 'empty-listing' }
  /** `load`: one bit of the content is wrong; the bit is counted from the start. */
  | { readonly fault: 'flipped-bit'; readonly bit: number };

export type Fault = Misfortune & {
  readonly on: Operation;
  /** Only for files of this type. */
  readonly type?: FileType;
  /** It strikes the calls number `nth` to `nth + times - 1` of those that match, counted from 1. Default: the first one, once. */
  readonly nth?: number;
  readonly times?: number;
};

interface Armed {
  readonly fault: Fault;
  matched: number;
}

/** A store whose calls go wrong as planned, for tests of everything above it. */
export class FaultStore extends StoreWrapper {
  readonly #armed: Armed[] = [];
  /** How many faults have struck. */
  struck = 0;

  constructor(inner: Store, faults: readonly Fault[] = []) {
    super(inner);
    this.plan(...faults);
  }

  plan(...faults: readonly Fault[]): void {
    this.#armed.push(...faults.map((fault) => ({ fault, matched: 0 })));
  }

  /** From now on all goes well. */
  heal(): void {
    this.#armed.length = 0;
  }

  override async create(signal?: AbortSignal): Promise<void> {
    await this.#suffer('create', [], this.location, signal, () => this.inner.create(signal));
  }

  override async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    const path = pathOf(file);
    await this.#suffer('save', [file.type], path, options?.signal, async (misfortune) => {
      if (misfortune?.fault !== 'cut') return this.inner.save(file, content, options);
      await this.inner.save(file, content.slice(0, misfortune.bytes), options);
      throw failed('save', path, 'broken');
    });
  }

  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    return this.#suffer('load', [file.type], pathOf(file), options?.signal, async (misfortune) => {
      const bytes = await this.inner.load(file, options);
      if (misfortune?.fault === 'cut') return bytes.subarray(0, misfortune.bytes);
      if (misfortune?.fault === 'flipped-bit') {
        const at = misfortune.bit >> 3;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (misfortune.bit & 7));
      }
      return bytes;
    });
  }

  override async stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    return this.#suffer('stat', [file.type], pathOf(file), signal, () => this.inner.stat(file, signal));
  }

  override async remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    await this.#suffer('remove', [file.type], pathOf(file), signal, () => this.inner.remove(file, signal));
  }

  /** `done-but-failed` breaks a listing after its last file. */
  override async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    const misfortune = this.#draw('list', types);
    await before('list', this.location, misfortune, signal);
    if (misfortune?.fault === 'empty-listing') return;
    let rest = misfortune?.fault === 'cut' ? misfortune.bytes : Infinity;
    for await (const file of this.inner.list(types, signal)) {
      if (rest-- <= 0) throw failed('list', this.location, 'broken');
      yield file;
    }
    if (misfortune?.fault === 'done-but-failed') throw failed('list', this.location, 'broken');
  }

  async #suffer<T>(
    operation: Operation,
    types: readonly FileType[],
    subject: string,
    signal: AbortSignal | undefined,
    call: (misfortune: Misfortune | undefined) => Promise<T>,
  ): Promise<T> {
    const misfortune = this.#draw(operation, types);
    await before(operation, subject, misfortune, signal);
    const result = await call(misfortune);
    if (misfortune?.fault === 'done-but-failed') throw failed(operation, subject, 'broken');
    return result;
  }

  /** The first planned fault whose turn it is. */
  #draw(operation: Operation, types: readonly FileType[]): Misfortune | undefined {
    let drawn: Fault | undefined;
    for (const armed of this.#armed) {
      const { on, type, nth = 1, times = 1 } = armed.fault;
      if (on !== operation || (type !== undefined && !types.includes(type))) continue;
      armed.matched++;
      if (armed.matched >= nth && armed.matched < nth + times) drawn ??= armed.fault;
    }
    if (drawn !== undefined) this.struck++;
    return drawn;
  }
}

async function before(
  operation: string,
  subject: string,
  misfortune: Misfortune | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (misfortune?.fault === 'fail')
    throw failed(operation, subject, misfortune.reason ?? 'broken', misfortune.retryAfterMs);
  if (misfortune?.fault === 'delay') await delay(misfortune.ms, signal);
  if (misfortune?.fault === 'hang') await until(signal);
  if (signal?.aborted === true) throw cancelled(operation, subject);
}

function until(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) resolve();
    signal?.addEventListener('abort', () => resolve(), { once: true });
  });
}

function failed(
  operation: string,
  subject: string,
  reason: StoreFailureReason,
  retryAfterMs?: number,
): StoreFailure {
  return new StoreFailure({ operation, subject, cause: 'a planned fault', reason, retryAfterMs });
}
