/** The words of restic's repository format, version 2. Source: restic's design document, "Repository Format". */

/** A SHA-256 as 64 lower-case hex digits: names files, packs, trees and snapshots. */
export type Id = string;

export type BlobType = 'data' | 'tree';

/** Where a blob lies. Offsets and lengths are bytes of the pack file; `length` counts nonce, ciphertext and MAC. */
export interface BlobLocation {
  readonly type: BlobType;
  readonly pack: Id;
  readonly offset: number;
  readonly length: number;
  /** Bytes after decompression; 0 where the blob is stored plain (then it has `length - 32` bytes). */
  readonly uncompressedLength: number;
}

/** One entry of a pack header and of an index file. */
export interface PackedBlob {
  readonly id: Id;
  readonly type: BlobType;
  readonly offset: number;
  readonly length: number;
  /** 0 where the blob is stored plain. */
  readonly uncompressedLength: number;
}

export interface Pack {
  readonly id: Id;
  readonly blobs: readonly PackedBlob[];
}

/** A pack that prune has marked: still there, no longer a source for deduplication. `time` is RFC 3339. */
export interface MarkedPack extends Pack {
  readonly time: string;
}

/** How hard to compress: restic's words, plus zstd levels for measurements. `off` stores plain. */
export type Compression = 'off' | 'auto' | 'max' | 'fastest';

/** The master key: AES-256 for data, AES-128 and r for the MAC (Poly1305-AES). */
export interface MasterKey {
  readonly encrypt: Uint8Array; // 32 bytes
  readonly macK: Uint8Array; // 16 bytes
  readonly macR: Uint8Array; // 16 bytes, masked as Poly1305 wants
}

export interface RepositoryConfig {
  readonly version: 1 | 2;
  readonly id: Id;
  /** An irreducible polynomial of degree 53 over GF(2), hex. Both ends of a copy share it to deduplicate. */
  readonly chunker_polynomial: string;
}
