import { StoreFailure } from '../../store/failure.ts';
import type { FileHandle, FileInfo, FileType, LoadOptions, SaveOptions, Store } from '../../store/store.ts';
import { StoreWrapper } from '../../store/wrapper.ts';

/**
 * A store seen by a process that is killed after so many of its saves and removals: the next one, and everything after it, no longer
 * happens. Not even the lock is given back.
 */
export class CrashStore extends StoreWrapper {
  /** What was changed, in order: `save data`, `remove index`. */
  readonly mutations: string[] = [];
  readonly #survives: number;
  #dead = false;

  constructor(inner: Store, survives = Infinity) {
    super(inner);
    this.#survives = survives;
  }

  get isDead(): boolean {
    return this.#dead;
  }

  override async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    this.#mutate(`save ${file.type}`);
    await super.save(file, content, options);
  }

  override async remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    this.#mutate(`remove ${file.type}`);
    await super.remove(file, signal);
  }

  override async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    this.#check();
    return super.load(file, options);
  }

  override async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    this.#check();
    yield* super.list(types, signal);
  }

  #mutate(what: string): void {
    if (this.mutations.length >= this.#survives) this.#dead = true;
    this.#check();
    this.mutations.push(what);
  }

  #check(): void {
    if (!this.#dead) return;
    throw new StoreFailure({
      operation: 'reach',
      subject: this.location,
      cause: 'killed',
      reason: 'forbidden',
    });
  }
}

/** Copies every file of one store into another, empty one. */
export async function copyFiles(from: Store, to: Store): Promise<void> {
  await to.create();
  for await (const file of from.list(ALL_TYPES)) await to.save(file, await from.load(file));
}

const ALL_TYPES: readonly FileType[] = ['config', 'keys', 'locks', 'snapshots', 'index', 'data'];
