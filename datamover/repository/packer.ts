import { sealInto, SEAL_OVERHEAD } from './crypto/cipher.ts';
import { sha256 } from './id.ts';
import { encodePackHeader, entryLength, packLength, TAIL_LENGTH } from './pack-header.ts';
import type { SealedBlob } from './blob.ts';
import type { BlobType, Id, MasterKey, Pack, PackedBlob } from './types.ts';

/** A pack is closed when it has reached this size, restic's default. */
export const PACK_SIZE = 16 * 1024 * 1024;

/** More blobs than this do not go into one pack, however small they are: a header must stay readable in one go. */
const MAX_BLOBS_PER_PACK = 100_000;

/** A pack ready to be stored: its name is the SHA-256 of its bytes. */
export interface FinishedPack {
  readonly pack: Pack;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** One pack in the making, in memory. */
export class PackBuilder {
  readonly #blobs: PackedBlob[] = [];
  readonly #parts: Uint8Array[] = [];
  #length = 0;
  #headerLength = 0;

  get isEmpty(): boolean {
    return this.#blobs.length === 0;
  }

  get isFull(): boolean {
    return this.#length + this.#headerLength >= PACK_SIZE || this.#blobs.length >= MAX_BLOBS_PER_PACK;
  }

  add(type: BlobType, id: Id, { bytes, uncompressedLength }: SealedBlob): void {
    const blob: PackedBlob = { id, type, offset: this.#length, length: bytes.length, uncompressedLength };
    this.#blobs.push(blob);
    this.#parts.push(bytes);
    this.#length += bytes.length;
    this.#headerLength += entryLength(blob);
  }

  finish(key: MasterKey): FinishedPack {
    const bytes = new Uint8Array(packLength(this.#blobs));
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    const headerLength = sealInto(key, encodePackHeader(this.#blobs), bytes.subarray(at));
    new DataView(bytes.buffer).setUint32(bytes.length - TAIL_LENGTH, headerLength, true);
    if (headerLength !== this.#headerLength + SEAL_OVERHEAD)
      throw new RangeError('a pack header of the wrong length');
    return { pack: { id: sha256(bytes), blobs: this.#blobs }, bytes };
  }
}

export interface PackerOptions {
  readonly key: MasterKey;
  /** Packs in memory that are being stored at the same time. */
  readonly uploads: number;
  /** Stores the pack, then tells the index. */
  readonly store: (finished: FinishedPack) => Promise<void>;
}

/**
 * Collects blobs into packs, data and trees apart (version 2 demands it), and stores each pack that is full. For what is small:
 * trees, copies, repacking. The hot path of a backup packs in its workers.
 */
export class Packer {
  readonly #options: PackerOptions;
  readonly #builders: Record<BlobType, PackBuilder> = { data: new PackBuilder(), tree: new PackBuilder() };
  readonly #uploads = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(options: PackerOptions) {
    this.#options = options;
  }

  /** Waits while enough packs are on their way. Fails if an earlier pack could not be stored. */
  async add(type: BlobType, id: Id, blob: SealedBlob): Promise<void> {
    this.#check();
    this.#builders[type].add(type, id, blob);
    if (this.#builders[type].isFull) await this.#finish(type);
  }

  /** Stores what is left; afterwards every blob that was added lies in the store. */
  async flush(): Promise<void> {
    await this.#finish('data');
    await this.#finish('tree');
    await Promise.all(this.#uploads);
    this.#check();
  }

  /** Waits for the packs on their way and drops the rest. Never fails: whoever comes here has a failure to tell already. */
  async abandon(): Promise<void> {
    this.#builders.data = new PackBuilder();
    this.#builders.tree = new PackBuilder();
    await Promise.all(this.#uploads);
  }

  async #finish(type: BlobType): Promise<void> {
    const builder = this.#builders[type];
    if (builder.isEmpty) return;
    this.#builders[type] = new PackBuilder();
    while (this.#uploads.size >= this.#options.uploads) await Promise.race(this.#uploads);
    this.#check();
    const upload = this.#options
      .store(builder.finish(this.#options.key))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#uploads.delete(upload));
    this.#uploads.add(upload);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
