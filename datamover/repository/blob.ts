import { DatamoverError } from '../errors.ts';
import { compressBlob, decompress } from './compression.ts';
import { isAuthentic, open, openUnchecked, seal, SEAL_OVERHEAD } from './crypto/cipher.ts';
import { equalBytes, sha256 } from './id.ts';
import { release } from './saver/pack-slot.ts';
import type { BlobType, Compression, Id, MasterKey, PackedBlob } from './types.ts';

/** A blob as it goes into a pack. */
export interface SealedBlob {
  readonly bytes: Uint8Array;
  /** 0 where the blob is stored plain. */
  readonly uncompressedLength: number;
}

/**
 * Compresses and seals a blob, then undoes both and compares: a machine that computes or remembers wrongly must not store what
 * nobody can read. Trees are compressed even with `off`, which is about data; `undefined` never compresses (version 1).
 */
export function sealBlob(
  key: MasterKey,
  type: BlobType,
  plain: Uint8Array,
  compression?: Compression,
): SealedBlob {
  const word = type === 'tree' && compression === 'off' ? 'auto' : compression;
  const packed = word === undefined ? undefined : compressBlob(plain, word);
  const sealed = {
    bytes: seal(key, packed ?? plain),
    uncompressedLength: packed === undefined ? 0 : plain.length,
  };
  // The tree of a long stream has tens of MiB: what is not needed any more goes at once.
  if (packed !== undefined) release(packed);
  const opened = open(key, sealed.bytes);
  const again = packed === undefined ? opened : decompress(opened, 'blob', plain.length);
  if (again !== opened) release(opened);
  const same = equalBytes(again, plain);
  release(again);
  if (!same) {
    throw new DatamoverError({
      operation: 'store blob',
      cause: 'it did not come back from compression and encryption as it was',
      hint: 'check the memory of this machine',
    });
  }
  return sealed;
}

/**
 * The content of a blob, checked against its id. `subject` names it and its place in errors. The MAC is checked before zstd or a
 * JSON parser sees the bytes; a plain data blob is proved by its SHA-256 alone.
 */
export function openBlob(
  key: MasterKey,
  blob: Pick<PackedBlob, 'type' | 'uncompressedLength'> & { readonly id: Id },
  sealed: Uint8Array,
  subject: string,
): Uint8Array<ArrayBuffer> {
  const refuse = (cause: unknown): DatamoverError =>
    new DatamoverError({
      operation: 'read',
      subject,
      cause,
      hint: 'the pack is damaged; `datamover check --read-data` names everything that is lost',
    });
  const parsed = blob.type === 'tree' || blob.uncompressedLength > 0;
  if (sealed.length < SEAL_OVERHEAD || (parsed && !isAuthentic(key, sealed))) {
    throw refuse('the message authentication code does not match');
  }
  let plain = openUnchecked(key, sealed);
  if (blob.uncompressedLength > 0) {
    const packed = plain;
    plain = decompress(packed, subject, blob.uncompressedLength);
    release(packed);
  }
  if (sha256(plain) !== blob.id) throw refuse('the content does not have the SHA-256 that names it');
  return plain;
}
