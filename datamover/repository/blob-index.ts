import type { BlobLocation, BlobType, Pack } from './types.ts';
import type { SharedIndexHandle } from './memory-index.ts';

/**
 * Where the blobs of a repository lie. The one form today keeps all entries in memory; a form that does not can take its place,
 * so nobody may ask for a walk over all entries: maintenance reads index file by index file (`Repository.indexFiles`).
 */
export interface BlobIndex {
  /** Different blobs with a known place. */
  readonly blobCount: number;
  readonly packCount: number;

  /** Where to read a blob, in a marked pack too; `undefined` where no index file names it. `id` has 32 bytes. */
  lookup(type: BlobType, id: Uint8Array): BlobLocation | undefined;
  /** The places in this list of blobs that `lookup` does not find. Other threads wait until the whole list has been looked for. */
  missing(type: BlobType, ids: Iterable<Uint8Array>): number[];
  /** Whether the blob lies in a pack that prune has not marked: fit to be referred to by a new backup. */
  isLive(type: BlobType, id: Uint8Array): boolean;
  /**
   * A number for the blob, stable while this index lives and below `entryCount`, for bit sets over blobs; -1 where it is
   * unknown.
   */
  ordinal(type: BlobType, id: Uint8Array): number;
  /** Upper bound of `ordinal`. */
  readonly entryCount: number;

  /** Whether an index file or `addPack` named this pack. `id` has 32 bytes. */
  hasPack(id: Uint8Array): boolean;

  /** Makes the blobs of a pack known, or a known pack marked. Of several places of a blob the first unmarked one stays. */
  addPack(pack: Pack, options?: { readonly marked?: boolean }): void;

  /**
   * Test-and-add for backups: true for exactly one caller among all threads where the blob has no live place yet; that caller
   * must store it, and `addPack` makes its place known.
   */
  claim(id: Uint8Array, type?: BlobType): boolean;
  /** Forgets claims whose blobs never came, after a failed or cancelled backup. */
  releaseClaims(): void;

  /** For worker threads: see `openSharedIndex`. */
  share(): SharedIndexHandle;
}
