/* Long, for it is all that an open repository can be asked; how each is done lies in files of its own. */
import { DatamoverError } from '../errors.ts';
import type { FileInfo, FileType, Store } from '../store/store.ts';
import { programVersion } from '../version.ts';
import { openBlob, sealBlob } from './blob.ts';
import { BackupSession, type BackupSessionOptions } from './backup-session.ts';
import type { BlobIndex } from './blob-index.ts';
import {
  attempt,
  fileSubject,
  listFiles,
  RepositoryFiles,
  type DocumentType,
  type WalkOptions,
} from './files.ts';
import { sha256, shortId, toBytes } from './id.ts';
import { decodeIndexFile, encodeIndexFile, splitForIndexFiles, type IndexFile } from './index-file.ts';
import { executeInit, planInit, type InitOptions } from './init.ts';
import type { LockMode } from './lock.ts';
import { acquireLock, type AcquiredLock, type LockHandle } from './locks.ts';
import { MemoryIndex } from './memory-index.ts';
import { openRepository, type Opened, type OpeningOptions } from './open.ts';
import { readPackHeader } from './pack-reading.ts';
import { Packer } from './packer.ts';
import { PendingIndex } from './pending-index.ts';
import { release } from './saver/pack-slot.ts';
import { decodeSnapshot, encodeSnapshot, type Snapshot } from './snapshot.ts';
import type {
  BlobLocation,
  BlobType,
  Compression,
  Id,
  MasterKey,
  Pack,
  PackedBlob,
  RepositoryConfig,
} from './types.ts';

export type { WalkOptions } from './files.ts';

export interface OpenOptions extends OpeningOptions {
  /** Default `auto`. Version 1 repositories are never compressed. */
  readonly compression?: Compression;
}

const LOOK_AGAIN_AFTER_MS = 60_000;
/** A sealed blob that restic's chunker made has at most so much; the tree of a long stream may have more. */
const LONGEST_SEALED = 9 << 20;

/**
 * An open repository: its key, its files, its blobs. Everything read through it is verified; everything is written in the order
 * that keeps a crash harmless: packs, then index, then snapshot.
 */
export class Repository {
  readonly store: Store;
  readonly config: RepositoryConfig;
  readonly key: MasterKey;
  /** The key file that the password opened. */
  readonly keyId: Id;
  readonly compression: Compression;
  readonly files: RepositoryFiles;
  #listing: ReadonlyMap<FileType, readonly FileInfo[]>;
  #index: MemoryIndex | undefined;
  readonly #indexed = new Set<Id>();
  readonly #pending = new PendingIndex((packs, signal) => this.saveIndex(packs, [], signal));
  #lookedAgainAt = -Infinity;
  #looking: { readonly done: Promise<string>; readonly signal: AbortSignal | undefined } | undefined;
  #lock: LockHandle | undefined;
  #backup: BackupSession | undefined;
  readonly #packer: Packer;

  private constructor(store: Store, opened: Opened, compression: Compression) {
    this.store = store;
    this.config = opened.config;
    this.key = opened.key.master;
    this.keyId = opened.key.id;
    this.compression = compression;
    this.files = new RepositoryFiles(store, this.key, this.config.version);
    this.#listing = opened.listing;
    this.#packer = new Packer({
      key: this.key,
      uploads: 2,
      store: ({ pack, bytes }) => this.storePack(pack, bytes),
    });
  }

  /** Makes a repository and opens it. `planInit` and `executeInit` do the same in two steps. */
  static async init(
    store: Store,
    password: string,
    options: InitOptions & OpenOptions = {},
  ): Promise<Repository> {
    await executeInit(store, await planInit(store, options), password);
    return Repository.open(store, password, options);
  }

  static async open(store: Store, password: string, options: OpenOptions = {}): Promise<Repository> {
    const { compression = 'auto', ...search } = options;
    return new Repository(store, await openRepository(store, password, search), compression);
  }

  /** The index; `loadIndex` comes first. */
  get index(): BlobIndex {
    return this.#loaded();
  }

  /** How many packs may be on their way to the store at once: restic's five at the most, for each waits in memory. */
  get uploads(): number {
    return Math.min(5, this.store.concurrency);
  }

  /** How to compress blobs here: `undefined` in version 1, which knows no compression. */
  get blobCompression(): Compression | undefined {
    return this.config.version === 1 ? undefined : this.compression;
  }

  /**
   * Takes a lock that every later write demands, and lists anew: index and snapshots are read as they were after the lock was
   * there. Fails with kind `locked` where somebody is in the way.
   */
  async lock(mode: LockMode, signal?: AbortSignal): Promise<AcquiredLock> {
    if (this.#lock !== undefined) throw new Error('this repository is locked by us already');
    const acquired = await acquireLock(this, mode, programVersion(), signal);
    this.#listing = new Map([...this.#listing, ...acquired.listing]);
    // An index from before may name packs that were marked and swept since, with no trace left of either.
    this.#index = undefined;
    this.#indexed.clear();
    this.#lock = acquired.handle;
    return acquired;
  }

  /** Lists files anew, for what comes after. */
  async relist(types: readonly FileType[] = ['index', 'snapshots'], signal?: AbortSignal): Promise<void> {
    this.#listing = new Map([...this.#listing, ...(await listFiles(this.store, types, signal))]);
  }

  /** The last listing of a type: `keys`, `locks`, `index` or `snapshots`. */
  listed(type: FileType): readonly FileInfo[] {
    return this.#listing.get(type) ?? [];
  }

  /** The verified JSON of an index, snapshot or lock file. */
  async loadFile(type: DocumentType, id: Id, signal?: AbortSignal): Promise<Uint8Array> {
    return this.files.load(type, id, signal);
  }

  async saveFile(type: DocumentType, json: Uint8Array, signal?: AbortSignal): Promise<Id> {
    return this.#whileLocked((either) => this.files.save(type, json, either), signal);
  }

  /**
   * Reads the index files that are not in the index yet. A file that vanishes meanwhile was replaced by another, which a new
   * listing shows.
   */
  async loadIndex({ onProblem, signal }: WalkOptions = {}): Promise<BlobIndex> {
    const index = (this.#index ??= new MemoryIndex());
    for (let attempt = 0; attempt < 3; attempt++) {
      const files = this.listed('index').filter((file) => !this.#indexed.has(file.name));
      // Real index files have 54 bytes for each blob, or 158 without compression; a little less room than needed costs nothing.
      const bytesPerBlob = this.config.version === 1 ? 170 : 60;
      const bytes = files.reduce((sum, file) => sum + file.size, 0);
      index.reserve(index.entryCount + Math.ceil(bytes / bytesPerBlob));
      let vanished = false;
      for await (const { id, json } of this.files.loadAll('index', files, { onProblem, signal })) {
        if (json === undefined) vanished = true;
        else index.addIndexFile(json, fileSubject('index', id));
        this.#indexed.add(id);
      }
      if (!vanished) break;
      await this.relist(['index'], signal);
    }
    index.settleMarks();
    return index;
  }

  /** Every index file as objects, one after the other: all entries, duplicates included, without holding them all. */
  async *indexFiles({ onProblem, signal }: WalkOptions = {}): AsyncGenerator<{
    readonly id: Id;
    readonly file: IndexFile;
  }> {
    for await (const { id, json } of this.files.loadAll('index', this.listed('index'), {
      onProblem,
      signal,
    })) {
      if (json !== undefined) yield { id, file: decodeIndexFile(json, fileSubject('index', id)) };
    }
  }

  /**
   * All snapshots, in no promised order. One that is forgotten meanwhile is left out; what may have taken its place, as that of a
   * consolidation does, comes out of a new listing (F-34).
   */
  async *snapshots({ onProblem, signal }: WalkOptions = {}): AsyncGenerator<{
    readonly id: Id;
    readonly snapshot: Snapshot;
  }> {
    const seen = new Set<Id>();
    for (let vanished = true, attempts = 0; vanished && attempts < 3; attempts++) {
      if (attempts > 0) await this.relist(['snapshots'], signal);
      vanished = false;
      const files = this.listed('snapshots').filter(({ name }) => !seen.has(name));
      for await (const { id, json } of this.files.loadAll('snapshots', files, { onProblem, signal })) {
        seen.add(id);
        if (json === undefined) {
          vanished = true;
          continue;
        }
        const decode = (): Snapshot => decodeSnapshot(json, fileSubject('snapshots', id));
        const snapshot = attempt(decode, { type: 'snapshots', id }, onProblem);
        if (snapshot !== undefined) yield { id, snapshot };
      }
    }
  }

  async loadSnapshot(id: Id, signal?: AbortSignal): Promise<Snapshot> {
    return decodeSnapshot(await this.files.load('snapshots', id, signal), fileSubject('snapshots', id));
  }

  /** Writes a snapshot after everything that it refers to. */
  async saveSnapshot(snapshot: Snapshot, signal?: AbortSignal): Promise<Id> {
    await this.flush(signal);
    return this.saveFile('snapshots', encodeSnapshot(snapshot), signal);
  }

  /** The content of a blob, checked against its id. An unknown blob may be newer than our index: that is read on, once. */
  async loadBlob(type: BlobType, id: Id, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const location = await this.#locate(type, id, signal);
    const { pack, length, uncompressedLength } = location;
    // Memory of our own can be given back at once; what an index says of lengths is only believed up to a point.
    const into = length <= LONGEST_SEALED ? new Uint8Array(length) : undefined;
    const sealed = await this.#loadSealed(location, into, signal);
    const subject = `${type} blob ${shortId(id)} in pack ${shortId(pack)}`;
    const plain = openBlob(this.key, { id, type, uncompressedLength }, sealed, subject);
    if (into !== undefined) release(into);
    return plain;
  }

  /** The bytes of a blob as they lie in its pack, in the beginning of `room`: nothing of them is checked. */
  async loadSealedBlob(
    type: BlobType,
    id: Id,
    room: Uint8Array,
    signal?: AbortSignal,
  ): Promise<{ readonly sealed: Uint8Array; readonly uncompressedLength: number }> {
    const location = await this.#locate(type, id, signal);
    const { length, uncompressedLength } = location;
    if (length > room.length)
      throw new Error(`${type} blob ${shortId(id)} takes ${length} bytes, there is room for ${room.length}`);
    return { sealed: await this.#loadSealed(location, room.subarray(0, length), signal), uncompressedLength };
  }

  async #locate(type: BlobType, id: Id, signal?: AbortSignal): Promise<BlobLocation> {
    const raw = toBytes(id);
    const subject = `${type} blob ${shortId(id)}`;
    return this.#loaded().lookup(type, raw) ?? (await this.#lookAgain(type, raw, subject, signal));
  }

  async #loadSealed(
    { pack, offset, length }: BlobLocation,
    into: Uint8Array | undefined,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const options = { range: { offset, length }, ...(into && { into }), ...(signal && { signal }) };
    return this.store.load({ type: 'data', name: pack }, options);
  }

  /** Stores a blob unless the repository has it. It lies in the store for sure after `flush`. */
  async saveBlob(type: BlobType, plain: Uint8Array): Promise<Id> {
    const id = sha256(plain);
    if (this.#loaded().claim(toBytes(id), type)) {
      await this.#packer.add(type, id, sealBlob(this.key, type, plain, this.blobCompression));
    }
    return id;
  }

  /** Stores a blob's sealed bytes as they are (repacking, copying within one key), whether or not the repository has it. */
  async saveSealedBlob(
    blob: Pick<PackedBlob, 'id' | 'type' | 'uncompressedLength'>,
    bytes: Uint8Array,
  ): Promise<void> {
    await this.#packer.add(blob.type, blob.id, { bytes, uncompressedLength: blob.uncompressedLength });
  }

  /**
   * For one backup: its packs, trees and counts. One at a time: a second one would take the claims of the first for stored blobs, and
   * its snapshot would lack them if the first one failed. Backups side by side open the repository once each.
   */
  beginBackup(options: BackupSessionOptions = {}): BackupSession {
    if (this.#backup?.isOpen === true) throw new Error('a backup is under way in this repository already');
    this.#backup = new BackupSession(this, options);
    return this.#backup;
  }

  /** Stores a finished pack, then makes it known. `bytes` may lie in shared memory, and may be used again afterwards. */
  async storePack(pack: Pack, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const file = { type: 'data', name: pack.id } as const;
    await this.#whileLocked(
      (either) => this.store.save(file, bytes, { ...(either && { signal: either }) }),
      signal,
    );
    await this.addPack(pack);
  }

  /** Makes a stored pack known; an index file is written when enough of them or enough time has come together. */
  async addPack(pack: Pack): Promise<void> {
    this.#loaded().addPack(pack);
    await this.#pending.add(pack);
  }

  /** Writes index files for these packs; each names `supersedes` as replaced. Removing those is left to the caller. */
  async saveIndex(
    packs: Iterable<Pack>,
    supersedes: readonly Id[] = [],
    signal?: AbortSignal,
  ): Promise<Id[]> {
    const ids: Id[] = [];
    for (const part of splitForIndexFiles(packs)) {
      const id = await this.saveFile('index', encodeIndexFile({ packs: part, supersedes }), signal);
      this.#indexed.add(id);
      ids.push(id);
    }
    return ids;
  }

  /** Afterwards every blob saved lies in a stored pack that a stored index file names. */
  async flush(signal?: AbortSignal): Promise<void> {
    await this.#packer.flush();
    await this.#pending.write(signal);
  }

  /** The blobs of a pack by its own header. `size` is the size of the pack file in bytes. */
  async loadPackHeader(pack: Id, size: number, signal?: AbortSignal): Promise<PackedBlob[]> {
    return readPackHeader(this.store, this.key, { id: pack, size }, signal);
  }

  /** Removes an index or snapshot file. Only under a lock. */
  async removeFile(type: Exclude<DocumentType, 'locks'>, id: Id): Promise<void> {
    this.#demandLock('remove', fileSubject(type, id));
    await this.files.remove(type, id);
  }

  /** Removes a pack, which no index file may name any more. Only under a lock that keeps out whoever could use it. */
  async removePack(id: Id): Promise<void> {
    this.#demandLock('remove', fileSubject('data', id));
    if (this.#lock?.mode === 'shared') throw new Error('packs are not removed under a shared lock');
    await this.store.remove({ type: 'data', name: id });
  }

  /**
   * Gives the lock back. What was not flushed is given up. The store stays open: it is the caller's. `signal` ends the waiting for a
   * store that does not answer; the lock then expires by itself.
   */
  async close(signal?: AbortSignal): Promise<void> {
    await this.#lock?.release(signal);
    this.#lock = undefined;
  }

  /** Looks for a blob in index files that came after ours were read. Not more than once in a while: each look is a listing. */
  async #lookAgain(
    type: BlobType,
    id: Uint8Array,
    subject: string,
    signal?: AbortSignal,
  ): Promise<BlobLocation> {
    let unreadable = '';
    // What somebody finds who looks at this moment counts for all.
    for (let other = this.#looking; other !== undefined; other = this.#looking) {
      try {
        unreadable = await other.done;
      } catch (error) {
        // He alone was stopped: then we look.
        if (other.signal?.aborted !== true) throw error;
      }
    }
    signal?.throwIfAborted();
    if (performance.now() - this.#lookedAgainAt > LOOK_AGAIN_AFTER_MS) {
      const done = this.#readOn(signal);
      this.#looking = { done, signal };
      try {
        unreadable = await done;
      } finally {
        this.#looking = undefined;
      }
      this.#lookedAgainAt = performance.now();
    }
    const location = this.#loaded().lookup(type, id);
    if (location !== undefined) return location;
    throw new DatamoverError({
      operation: 'read',
      subject,
      cause: `no index file names it${unreadable}`,
      hint: '`datamover repair index` reads the packs again; else the backups that need it are damaged',
    });
  }

  /** Reads the index files that came after ours; what could not be read of them, as the end of a sentence. */
  async #readOn(signal: AbortSignal | undefined): Promise<string> {
    let unreadable = '';
    await this.relist(['index'], signal);
    const onProblem = (problem: DatamoverError): void =>
      void (unreadable = `, and one cannot be read: ${problem.message}`);
    await this.loadIndex({ onProblem, ...(signal && { signal }) });
    return unreadable;
  }

  #demandLock(operation: string, subject: string): void {
    if (this.#lock === undefined)
      throw new DatamoverError({ operation, subject, cause: 'the repository is not locked' });
    this.#lock.assertHeld();
  }

  /**
   * A write that ends when the lock is lost: one that hangs and lands later, a snapshot above all, would land beside a prune that
   * took us for dead.
   */
  async #whileLocked<T>(
    write: (signal: AbortSignal | undefined) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const lock = this.#lock;
    lock?.assertHeld();
    const signals = [lock?.signal, signal].filter((one) => one !== undefined);
    try {
      return await write(signals.length > 1 ? AbortSignal.any(signals) : signals[0]);
    } catch (error) {
      lock?.signal.throwIfAborted();
      throw error;
    }
  }

  #loaded(): MemoryIndex {
    if (this.#index === undefined) throw new Error('the index was not loaded');
    return this.#index;
  }
}
