import { checkRange, memoryFor } from './answer.ts';
import { isMissing, isPermanent, StoreFailure, stopIfAborted } from './failure.ts';
import { fileAt, pathOf } from './layout.ts';
import type { FileHandle, FileInfo, FileType, LoadOptions, SaveOptions, Store } from './store.ts';

interface Kept {
  readonly bytes: Uint8Array;
  readonly modified: Date;
}

/** A repository in memory, for tests and for trying things out. Files are copied in and out. */
export class MemoryStore implements Store {
  readonly location = 'memory';
  readonly concurrency = 8;
  readonly #files = new Map<string, Kept>();

  async create(signal?: AbortSignal): Promise<void> {
    stopIfAborted(signal, 'create', this.location);
  }

  async save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void> {
    const path = pathOf(file);
    stopIfAborted(options?.signal, 'save', path);
    this.#files.set(path, { bytes: new Uint8Array(content), modified: new Date() });
  }

  async load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array> {
    const path = pathOf(file);
    stopIfAborted(options?.signal, 'load', path);
    const { bytes } = this.#find('load', path);
    const { offset, length } = checkRange(options?.range, bytes.length, path);
    const answer = memoryFor(length, options?.into, path);
    answer.set(bytes.subarray(offset, offset + length));
    return answer;
  }

  async stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    const path = pathOf(file);
    stopIfAborted(signal, 'stat', path);
    const { bytes, modified } = this.#find('stat', path);
    return { ...file, size: bytes.length, modified };
  }

  async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    // A copy, as a bucket's listing is: what is saved or removed meanwhile does not disturb it.
    for (const [path, { bytes, modified }] of [...this.#files]) {
      stopIfAborted(signal, 'list', this.location);
      const file = fileAt(path);
      if (file !== undefined && types.includes(file.type)) yield { ...file, size: bytes.length, modified };
    }
  }

  async remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    const path = pathOf(file);
    stopIfAborted(signal, 'remove', path);
    this.#files.delete(path);
  }

  isMissing(error: unknown): boolean {
    return isMissing(error);
  }

  isPermanent(error: unknown): boolean {
    return isPermanent(error);
  }

  async close(): Promise<void> {
    // Nothing is held open; the files stay for whoever still has the store.
  }

  #find(operation: string, path: string): Kept {
    const kept = this.#files.get(path);
    if (kept === undefined) {
      throw new StoreFailure({ operation, subject: path, cause: 'no such file', reason: 'missing' });
    }
    return kept;
  }
}
