import { sealBlob } from './blob.ts';
import { zstdLevel } from './compression.ts';
import { sha256, toBytes } from './id.ts';
import type { SharedIndexHandle } from './memory-index.ts';
import { Packer } from './packer.ts';
import type { Repository } from './repository.ts';
import type { BlobType, Compression, Id, MasterKey, Pack } from './types.ts';

export interface BackupSessionOptions {
  /** Compresses, seals and counts, but stores nothing. */
  readonly dryRun?: boolean;
  /** The repository's own without it. */
  readonly compression?: Compression;
  /** Ends the upload of trees; the workers' packs come with a signal of their own. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * One backup's view of a repository: where the workers' packs go, where trees go, and what was stored for it. Claims of blobs
 * that never came are given back by `abandon`.
 */
export class BackupSession {
  readonly key: MasterKey;
  /** Hex, for content-defined cuts. */
  readonly polynomial: string;
  /** Packs that may be on their way to the store at once. */
  readonly uploads: number;
  readonly #repository: Repository;
  readonly #dryRun: boolean;
  readonly #compression: Compression | undefined;
  readonly #packer: Packer;
  #bytes = 0;
  #packs = 0;
  #open = true;

  constructor(repository: Repository, { dryRun = false, compression, signal }: BackupSessionOptions = {}) {
    this.#repository = repository;
    this.key = repository.key;
    this.polynomial = repository.config.chunker_polynomial;
    this.uploads = repository.uploads;
    this.#dryRun = dryRun;
    this.#compression = repository.config.version === 1 ? undefined : (compression ?? repository.compression);
    this.#packer = new Packer({
      key: this.key,
      uploads: 1,
      store: ({ pack, bytes }) => this.storePack(pack, bytes, signal),
    });
  }

  /** Until `flush` has succeeded or `abandon` has been called. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** Of zstd, for the workers; undefined stores plain. */
  get level(): number | undefined {
    return this.#compression === undefined ? undefined : zstdLevel(this.#compression);
  }

  shareIndex(): SharedIndexHandle {
    return this.#repository.index.share();
  }

  /** Stores a finished pack and makes its blobs known. `bytes` may be used again once this resolves. */
  async storePack(pack: Pack, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.#bytes += bytes.length;
    this.#packs++;
    if (!this.#dryRun) await this.#repository.storePack(pack, bytes, signal);
  }

  async saveTree(plain: Uint8Array): Promise<Id> {
    return this.#save('tree', plain);
  }

  /** For small data: `/volume.json`. */
  async saveData(plain: Uint8Array): Promise<Id> {
    return this.#save('data', plain);
  }

  /** Afterwards everything that the backup stored is in the store and in an index file: the snapshot may follow. */
  async flush(signal?: AbortSignal): Promise<void> {
    await this.#packer.flush();
    signal?.throwIfAborted();
    if (this.#dryRun) this.#repository.index.releaseClaims();
    else await this.#repository.flush(signal);
    this.#open = false;
  }

  /** What the store has taken, or in a dry run would have. */
  stored(): { readonly bytes: number; readonly packs: number } {
    return { bytes: this.#bytes, packs: this.#packs };
  }

  /**
   * After a failure: packs that were stored stay and are made known to the next backup; the rest is forgotten. `signal` ends the
   * waiting for a store that does not answer.
   */
  async abandon(signal?: AbortSignal): Promise<void> {
    await this.#packer.abandon();
    this.#repository.index.releaseClaims();
    this.#open = false;
    if (this.#dryRun) return;
    // Without the index file the next backup finds the packs by their headers; the failure that led here is the one to tell.
    await this.#repository.flush(signal).catch(() => undefined);
  }

  async #save(type: BlobType, plain: Uint8Array): Promise<Id> {
    const id = sha256(plain);
    if (this.#repository.index.claim(toBytes(id), type)) {
      await this.#packer.add(type, id, sealBlob(this.key, type, plain, this.#compression));
    }
    return id;
  }
}
