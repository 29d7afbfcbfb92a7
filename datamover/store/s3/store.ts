import { createHash } from 'node:crypto';

import {
  cancelled,
  findStoreFailure,
  isMissing,
  isPermanent,
  StoreFailure,
  stopIfAborted,
} from '../failure.ts';
import { fileAt, FOLDERS, pathOf } from '../layout.ts';
import type { FileHandle, FileInfo, FileType, LoadOptions, SaveOptions, Store } from '../store.ts';
import { formatAddress, keyOf, styleFor, targetOf, type BucketStyle, type S3Address } from './address.ts';
import { Bucket, DEFAULT_REGION } from './bucket.ts';
import { Connection, type RequestKind } from './connection.ts';
import type { Outline } from './exchange.ts';
import { get, rangeHeader } from './get.ts';
import { put } from './put.ts';
import { socketGet } from './socket-get.ts';
import { EMPTY_SHA256, Signer, type Credentials } from './signature.ts';
import type { Call } from './watch.ts';

export interface S3Options {
  readonly address: S3Address;
  readonly credentials: Credentials;
  /** Found out by asking the server if it is not given. */
  readonly region?: string | undefined;
  /** Default: in the host name for Amazon, else in the path. */
  readonly style?: BucketStyle | undefined;
  /** PEM certificates of authorities to trust beside the usual ones. */
  readonly ca?: string | undefined;
  /** Requests at once; default 5 as in restic. */
  readonly connections?: number | undefined;
  /** Milliseconds without a byte after which a request is given up; default one minute. */
  readonly stallMs?: number | undefined;
  /** Told of every request that goes out. */
  readonly onRequest?: ((kind: RequestKind) => void) | undefined;
}

const DEFAULT_CONNECTIONS = 5;
const DEFAULT_STALL_MS = 60_000;

/**
 * A repository in an S3 bucket. Content goes and comes by signed requests of our own; everything else by the package `minio`.
 * The name of a file is the SHA-256 of its content, which is what the signature of an upload needs: it costs no hashing, and the
 * server refuses content that does not fit its name.
 */
export class S3Store implements Store {
  readonly location: string;
  readonly concurrency: number;
  readonly #options: S3Options;
  readonly #style: BucketStyle;
  readonly #connection: Connection;
  readonly #bucket: Bucket;
  #signer: Promise<Signer> | undefined;
  /** Whether uploads carry a checksum for the server to keep: Amazon demands it for buckets with object lock. */
  #checksum = false;

  constructor(options: S3Options) {
    const { address, credentials, connections = DEFAULT_CONNECTIONS, stallMs = DEFAULT_STALL_MS } = options;
    this.#options = options;
    this.location = formatAddress(address);
    this.concurrency = connections;
    this.#style = options.style ?? styleFor(address);
    this.#connection = new Connection({ ...options, secure: address.secure, connections, stallMs });
    this.#bucket = new Bucket(this.#connection, address, credentials, this.#style);
  }

  async create(signal?: AbortSignal): Promise<void> {
    const call = { operation: 'create', subject: this.location, signal };
    stopIfAborted(signal, call.operation, call.subject);
    const region = this.#options.region ?? DEFAULT_REGION;
    this.#bucket.region = region;
    try {
      await this.#bucket.create(region, call);
      this.#signer ??= Promise.resolve(new Signer(this.#options.credentials, region));
    } catch (error) {
      if (!this.#adoptRegion(error)) throw error;
      await this.#bucket.create(region, call);
    }
  }

  async save(file: FileHandle, content: Uint8Array, options: SaveOptions = {}): Promise<void> {
    const hash = file.type === 'config' ? sha256(content) : file.name;
    try {
      await this.#signed('save', file, options.signal, async (signer, call) => {
        const headers = { 'Content-Length': content.length, 'Content-Type': 'application/octet-stream' };
        await this.#connection.inTurn(call, () => {
          const outline = this.#outline('PUT', file, signer, hash, headers, call);
          return put(this.#connection, outline, content, options.pace);
        });
      });
    } catch (error) {
      if (!this.#wantsChecksum(error)) throw this.#explainMismatch(error, file, content);
      this.#checksum = true;
      await this.save(file, content, options);
    }
  }

  async load(file: FileHandle, options: LoadOptions = {}): Promise<Uint8Array> {
    // HTTP has no empty range: only whether the offset is within the file is left to find out.
    if (options.range?.length === 0) return this.#loadNothing(file, options);
    return this.#signed('load', file, options.signal, (signer, call) =>
      this.#connection.inTurn(call, async () => {
        const outline = this.#outline('GET', file, signer, EMPTY_SHA256, rangeHeader(options.range), call);
        const loaded = await socketGet(this.#connection, outline, options);
        return loaded ?? (await get(this.#connection, outline, options));
      }),
    );
  }

  async stat(file: FileHandle, signal?: AbortSignal): Promise<FileInfo> {
    const key = this.#keyOf(file);
    return this.#signed('stat', file, signal, async (_signer, call) => {
      return { ...file, ...(await this.#bucket.stat(key, call)) };
    });
  }

  /**
   * One sweep over the keys from the first folder wanted to the last: `keys`, `locks`, `snapshots` and `index` together begin
   * behind `data/`, so a thousand of them come with a single request.
   */
  async *list(types: readonly FileType[], signal?: AbortSignal): AsyncIterable<FileInfo> {
    if (types.includes('config')) yield* this.#listConfig(signal);
    const folders = FOLDERS.filter((folder) => types.includes(folder));
    const [first, last] = [folders.at(0), folders.at(-1)];
    if (first === undefined || last === undefined) return;

    const base = keyOf(this.#options.address, '');
    const prefix = first === last ? `${base}${first}/` : base;
    const call = { operation: 'list', subject: this.location, signal };
    await this.#ready(call);
    stopIfAborted(signal, call.operation, call.subject);
    for await (const { key, ...info } of this.#bucket.list(
      prefix,
      `${base}${first}/`,
      `${base}${last}0`,
      call,
    )) {
      const file = fileAt(key.slice(base.length));
      if (file !== undefined && types.includes(file.type)) yield { ...file, ...info };
      stopIfAborted(signal, call.operation, call.subject);
    }
  }

  async remove(file: FileHandle, signal?: AbortSignal): Promise<void> {
    const key = this.#keyOf(file);
    try {
      await this.#signed('remove', file, signal, (_, call) => this.#bucket.remove(key, call));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  isMissing(error: unknown): boolean {
    return isMissing(error);
  }

  isPermanent(error: unknown): boolean {
    return isPermanent(error);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  #keyOf(file: FileHandle): string {
    return keyOf(this.#options.address, pathOf(file));
  }

  #outline(
    method: 'PUT' | 'GET',
    file: FileHandle,
    signer: Signer,
    payloadHash: string,
    headers: Record<string, string | number>,
    call: Call,
  ): Outline {
    const target = targetOf(this.#options.address, this.#style, signer.region, this.#keyOf(file));
    const signed = signer.sign(method, target, payloadHash, { checksum: this.#checksum && method === 'PUT' });
    return { ...call, kind: method, target, headers: { ...signed, ...headers } };
  }

  /** Runs a request with a signer for the bucket's region; once more if the server names another region. */
  async #signed<T>(
    operation: string,
    file: FileHandle,
    signal: AbortSignal | undefined,
    request: (signer: Signer, call: Call) => Promise<T>,
  ): Promise<T> {
    const call = { operation, subject: `${this.location}/${pathOf(file)}`, signal };
    stopIfAborted(signal, call.operation, call.subject);
    const signer = await this.#ready(call);
    try {
      return await request(signer, call);
    } catch (error) {
      if (!this.#adoptRegion(error, signer.region)) throw error;
      return await request(await this.#ready(call), call);
    }
  }

  /**
   * The signer. The first call that needs it finds out the region and all others wait for that, so that it must not end with the
   * first call's signal.
   */
  async #ready({ operation, subject, signal }: Call): Promise<Signer> {
    this.#signer ??= this.#makeSigner({ operation, subject }).catch((error: unknown) => {
      this.#signer = undefined;
      throw error;
    });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const stop = (): void => resolve(undefined);
    signal?.addEventListener('abort', stop);
    try {
      const signer = await Promise.race([this.#signer, promise]);
      if (signer === undefined) throw cancelled(operation, subject);
      return signer;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  async #makeSigner(call: Call): Promise<Signer> {
    const region = this.#options.region ?? (await this.#bucket.findRegion(call));
    this.#bucket.region = region;
    return new Signer(this.#options.credentials, region);
  }

  /** Whether the server said that the bucket lies in another region than the one signed for; it is used from now on. */
  #adoptRegion(error: unknown, used?: string): boolean {
    const failure = findStoreFailure(error);
    if (failure?.reason !== 'refused' || failure.region === undefined || failure.region === used)
      return false;
    this.#bucket.region = failure.region;
    this.#signer = Promise.resolve(new Signer(this.#options.credentials, failure.region));
    return true;
  }

  #wantsChecksum(error: unknown): boolean {
    const failure = findStoreFailure(error);
    return (
      !this.#checksum && failure?.code === 'InvalidRequest' && /checksum|Content-MD5/i.test(failure.message)
    );
  }

  async *#listConfig(signal: AbortSignal | undefined): AsyncIterable<FileInfo> {
    try {
      yield await this.stat({ type: 'config', name: '' }, signal);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  async #loadNothing(file: FileHandle, { range, into, signal }: LoadOptions): Promise<Uint8Array> {
    const { size } = await this.stat(file, signal);
    if (range !== undefined && range.offset <= size) return into?.subarray(0, 0) ?? new Uint8Array(0);
    const subject = `${this.location}/${pathOf(file)}`;
    const cause = `byte ${range?.offset ?? 0} is not within the file's ${size}`;
    throw new StoreFailure({ operation: 'load', subject, cause, reason: 'range' });
  }

  /** Content that does not fit its name: damaged on its way (which may pass), or given to us like that (which will not). */
  #explainMismatch(error: unknown, file: FileHandle, content: Uint8Array): unknown {
    const failure = findStoreFailure(error);
    if (failure?.code !== 'XAmzContentSHA256Mismatch') return error;
    const damaged = file.type === 'config' || sha256(content) === file.name;
    return new StoreFailure({
      operation: failure.operation,
      subject: failure.subject ?? this.location,
      cause: damaged
        ? 'the content was damaged on its way to the server'
        : 'the content is not the one of this name',
      reason: damaged ? 'broken' : 'refused',
      code: failure.code,
    });
  }
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
