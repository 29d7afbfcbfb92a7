/**
 * A store keeps named, immutable byte files for a repository. It knows nothing of their meaning. Everything above it
 * (retry, limits, cache, trace, faults) is a wrapper with this same interface.
 */

/** The kinds of file of a restic repository; each but `config` is a folder of files named by their SHA-256. */
export type FileType = 'config' | 'keys' | 'locks' | 'snapshots' | 'index' | 'data';

/** Names one file. `name` is 64 lower-case hex digits, and empty for `config`. */
export interface FileHandle {
  readonly type: FileType;
  readonly name: string;
}

export interface FileInfo extends FileHandle {
  /** Bytes. */
  readonly size: number;
  /** When the store took it, by the store's own clock, where the store tells. */
  readonly modified?: Date;
}

/** A part of a file in bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Asked before each piece of bytes goes over the wire (or after it came); a promise means "wait for it first". The limit
 * wrapper hands one down, and a store that cannot work in pieces leaves it alone: then the wrapper charges the whole.
 */
export type Pace = (bytes: number) => Promise<void> | undefined;

export interface LoadOptions {
  /** Only these bytes; the whole file without it. A range beyond the end is an error. */
  readonly range?: ByteRange;
  /** Memory (also shared memory) to fill, at least as long as the answer: spares an allocation and a copy on the hot path. */
  readonly into?: Uint8Array;
  readonly signal?: AbortSignal;
  readonly pace?: Pace;
}

export interface SaveOptions {
  readonly signal?: AbortSignal;
  readonly pace?: Pace;
}

export interface Store {
  /** The place in restic's spelling (`s3:https://host/bucket/prefix`, `/srv/repo`), never with a secret in it. */
  readonly location: string;
  /** How many calls at once this store is good for. */
  readonly concurrency: number;

  /** Makes the place ready (folders, bucket). Existing files stay as they are. */
  create(signal?: AbortSignal): Promise<void>;
  /**
   * Stores a file: afterwards it is there as a whole and durable, or not at all. Saving the same name and content again is
   * harmless. `content` may lie in shared memory and must not be changed before the promise settles.
   */
  save(file: FileHandle, content: Uint8Array, options?: SaveOptions): Promise<void>;
  /** Reads a file or a part of it. The answer is exactly as long as asked for, else the call fails. */
  load(file: FileHandle, options?: LoadOptions): Promise<Uint8Array>;
  stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo>;
  /**
   * Lists the files of these types in no promised order. Asking for several types in one call is cheaper than one call each: S3
   * needs a single request for `keys`, `locks`, `snapshots` and `index` together.
   */
  list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo>;
  /** Removes a file. A file that is not there is not an error: the wish is fulfilled. */
  remove(file: FileHandle, signal?: AbortSignal): Promise<void>;
  /** Whether this error of `load` or `stat` means that the file is not there. */
  isMissing(error: unknown): boolean;
  /** Whether asking again is of no use (missing, forbidden, bad range, full); false for what may pass (timeouts, 503). */
  isPermanent(error: unknown): boolean;
  close(): Promise<void>;
}
