import { encodeDocument } from './document.ts';
import { fromBytes } from './id.ts';
import { scanIndexFile } from './index-scan.ts';
import type { Id, MarkedPack, Pack, PackedBlob } from './types.ts';

/**
 * An index file: which blobs lie where in which packs (restic's design document, "Indexing"), and which packs prune has marked
 * (`packs_to_delete`, a field of rustic's that restic skips).
 */
export interface IndexFile {
  readonly packs: readonly Pack[];
  /** Marked packs. Ours stay listed in `packs` too, so that restic sees every blob at every moment. */
  readonly packsToDelete: readonly MarkedPack[];
  /** Index files that this one replaces: information only, a reader takes whatever is there. */
  readonly supersedes: readonly Id[];
}

/** Index files are cut at this many blobs: about 8 MiB of JSON, the size that restic's design document asks for. */
export const BLOBS_PER_INDEX_FILE = 50_000;

export function encodeIndexFile(file: Partial<IndexFile>): Uint8Array<ArrayBuffer> {
  const { packs = [], packsToDelete = [], supersedes = [] } = file;
  return encodeDocument({
    ...(supersedes.length > 0 && { supersedes }),
    packs: packs.map(packEntry),
    ...(packsToDelete.length > 0 && {
      packs_to_delete: packsToDelete.map((pack) => ({ ...packEntry(pack), time: pack.time })),
    }),
  });
}

function packEntry(pack: Pack): object {
  return {
    id: pack.id,
    blobs: pack.blobs.map((blob) => ({
      id: blob.id,
      type: blob.type,
      offset: blob.offset,
      length: blob.length,
      ...(blob.uncompressedLength > 0 && { uncompressed_length: blob.uncompressedLength }),
    })),
  };
}

/** Reads a whole index file into objects: for maintenance, which walks file by file. Loading an index uses the scanner alone. */
export function decodeIndexFile(bytes: Uint8Array, subject: string): IndexFile {
  const packs: Pack[] = [];
  const packsToDelete: MarkedPack[] = [];
  const supersedes: Id[] = [];
  let blobs: PackedBlob[] = [];
  scanIndexFile(bytes, subject, {
    supersedes: (id) => supersedes.push(fromBytes(id)),
    pack: (id, mark) => {
      blobs = [];
      if (mark === undefined) packs.push({ id: fromBytes(id), blobs });
      else packsToDelete.push({ id: fromBytes(id), blobs, time: mark });
    },
    blob: (id, type, offset, length, uncompressedLength) => {
      blobs.push({ id: fromBytes(id), type, offset, length, uncompressedLength });
    },
  });
  return { packs, packsToDelete, supersedes };
}

/** Splits packs into index files of bounded size. A pack is never split. */
export function* splitForIndexFiles<P extends Pack>(packs: Iterable<P>): Generator<P[]> {
  let part: P[] = [];
  let count = 0;
  for (const pack of packs) {
    if (part.length > 0 && count + pack.blobs.length > BLOBS_PER_INDEX_FILE) {
      yield part;
      part = [];
      count = 0;
    }
    part.push(pack);
    count += pack.blobs.length;
  }
  if (part.length > 0) yield part;
}
