import type { FileHandle, FileInfo, FileType, LoadOptions, SaveOptions, Store } from './store.ts';

/** A store around a store that changes nothing: the base of retry, limit, trace and fault. */
export abstract class StoreWrapper implements Store {
  protected readonly inner: Store;

  constructor(inner: Store) {
    this.inner = inner;
  }

  get location(): string {
    return this.inner.location;
  }

  get concurrency(): number {
    return this.inner.concurrency;
  }

  create(signal?: AbortSignal): Promise<void> {
    return this.inner.create(signal);
  }

  save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    return this.inner.save(file, content, options);
  }

  load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    return this.inner.load(file, options);
  }

  stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    return this.inner.stat(file, signal);
  }

  list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    return this.inner.list(types, signal);
  }

  remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    return this.inner.remove(file, signal);
  }

  isMissing(error: unknown): boolean {
    return this.inner.isMissing(error);
  }

  isPermanent(error: unknown): boolean {
    return this.inner.isPermanent(error);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
