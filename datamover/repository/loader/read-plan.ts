import type { BlobLocation, Id } from '../types.ts';

/** A blob that is wanted, and every place in the output where its bytes go. */
export interface WantedBlob {
  readonly id: Id;
  readonly location: BlobLocation;
  readonly positions: readonly number[];
}

/** One range of one pack, and the blobs in it that are wanted, in the order of their offsets or of the output. */
export interface PackRead {
  readonly pack: Id;
  readonly offset: number;
  readonly length: number;
  readonly blobs: readonly WantedBlob[];
  /** Bytes of all its blobs once decoded. */
  readonly plainBytes: number;
}

export interface ReadLimits {
  /** Bytes of a range, and of what is decoded from it, unless a single blob is longer. */
  readonly bytes: number;
  /** Unwanted bytes between two blobs that are read along rather than asked around. */
  readonly gap: number;
}

/** Decoded bytes of a blob: plain blobs carry a nonce and a MAC of 16 bytes each. */
export function plainLength(location: BlobLocation): number {
  return location.uncompressedLength > 0 ? location.uncompressedLength : location.length - 32;
}

/** Joins neighbours in one pack into one read. The order of `wanted` is kept: pass it sorted by pack to read each pack once. */
export function planReads(wanted: readonly WantedBlob[], limits: ReadLimits): PackRead[] {
  const reads: PackRead[] = [];
  let blobs: WantedBlob[] = [];
  let plainBytes = 0;
  let offset = 0;
  let end = 0;
  const close = (): void => {
    const first = blobs[0];
    if (first) reads.push({ pack: first.location.pack, offset, length: end - offset, blobs, plainBytes });
  };
  for (const blob of wanted) {
    const { pack, offset: at, length } = blob.location;
    const bytes = plainLength(blob.location);
    const fits =
      blobs[0]?.location.pack === pack &&
      at >= end &&
      at - end <= limits.gap &&
      at + length - offset <= limits.bytes &&
      plainBytes + bytes <= limits.bytes;
    if (!fits) {
      close();
      blobs = [];
      plainBytes = 0;
      offset = at;
    }
    blobs.push(blob);
    plainBytes += bytes;
    end = at + length;
  }
  close();
  return reads;
}

/** By pack in the order in which the packs are first wanted, then by offset: every pack is read once, front to back. */
export function sortByPack(wanted: readonly WantedBlob[]): WantedBlob[] {
  const order = new Map<Id, number>();
  for (const { location } of wanted) if (!order.has(location.pack)) order.set(location.pack, order.size);
  const rank = (blob: WantedBlob): number => order.get(blob.location.pack) ?? 0;
  return [...wanted].sort((a, b) => rank(a) - rank(b) || a.location.offset - b.location.offset);
}
