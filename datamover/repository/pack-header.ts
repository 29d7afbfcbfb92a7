import { SEAL_OVERHEAD } from './crypto/cipher.ts';
import { malformed } from './document.ts';
import { fromBytes, ID_LENGTH, toBytes } from './id.ts';
import type { PackedBlob } from './types.ts';

/**
 * The end of a pack file: `sealed header || its length (4 bytes, little-endian)`. The header lists the blobs in the order in
 * which they lie in the pack (restic's design document, "Pack Format"):
 *
 *     type 0 data, 1 tree:                        type (1) || length (4) || id (32)                            37 bytes
 *     type 2 data, 3 tree, compressed:            type (1) || length (4) || uncompressed length (4) || id (32)  41 bytes
 */
export const PLAIN_ENTRY = 1 + 4 + ID_LENGTH;
export const COMPRESSED_ENTRY = PLAIN_ENTRY + 4;
/** Bytes of the length field at the very end of a pack. */
export const TAIL_LENGTH = 4;

const TREE_BIT = 1;
const COMPRESSED_BIT = 2;
const U32_MAX = 0xffffffff;

/** The shortest that a pack can be: one plain, empty blob and its header. */
export const MIN_PACK_LENGTH = SEAL_OVERHEAD + PLAIN_ENTRY + SEAL_OVERHEAD + TAIL_LENGTH;

/** Bytes that a header entry for this blob takes. */
export function entryLength(blob: { readonly uncompressedLength: number }): number {
  return blob.uncompressedLength > 0 ? COMPRESSED_ENTRY : PLAIN_ENTRY;
}

/** The size of the whole pack file that holds these blobs, in bytes. */
export function packLength(blobs: readonly PackedBlob[]): number {
  let length = SEAL_OVERHEAD + TAIL_LENGTH;
  for (const blob of blobs) length += blob.length + entryLength(blob);
  return length;
}

/** The plaintext header of a pack whose blobs lie one after the other from offset 0 in this order. */
export function encodePackHeader(blobs: readonly PackedBlob[]): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(blobs.reduce((sum, blob) => sum + entryLength(blob), 0));
  const view = new DataView(header.buffer);
  let at = 0;
  let offset = 0;
  for (const blob of blobs) {
    if (blob.offset !== offset)
      throw new RangeError(`blob ${blob.id} lies at ${blob.offset}, expected ${offset}`);
    if (blob.length > U32_MAX || blob.uncompressedLength > U32_MAX)
      throw new RangeError(`blob ${blob.id} is too long`);
    const compressed = blob.uncompressedLength > 0;
    header[at] = (blob.type === 'tree' ? TREE_BIT : 0) | (compressed ? COMPRESSED_BIT : 0);
    view.setUint32(at + 1, blob.length, true);
    if (compressed) view.setUint32(at + 5, blob.uncompressedLength, true);
    at += entryLength(blob);
    header.set(toBytes(blob.id), at - ID_LENGTH);
    offset += blob.length;
  }
  return header;
}

/**
 * Reads a decrypted header. `dataLength` are the bytes of the pack before the sealed header: the blobs must fill them exactly.
 */
export function decodePackHeader(header: Uint8Array, dataLength: number, subject: string): PackedBlob[] {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const blobs: PackedBlob[] = [];
  let at = 0;
  let offset = 0;
  while (at < header.length) {
    const kind = view.getUint8(at);
    if (kind > (TREE_BIT | COMPRESSED_BIT))
      throw malformed(subject, `blob type ${kind} in the pack header is unknown`);
    const compressed = (kind & COMPRESSED_BIT) !== 0;
    const end = at + (compressed ? COMPRESSED_ENTRY : PLAIN_ENTRY);
    if (end > header.length) throw malformed(subject, 'the pack header ends within an entry');
    const length = view.getUint32(at + 1, true);
    if (length < SEAL_OVERHEAD)
      throw malformed(subject, `a blob of ${length} bytes cannot be encrypted data`);
    const id = fromBytes(header.subarray(end - ID_LENGTH, end));
    const uncompressedLength = compressed ? view.getUint32(at + 5, true) : 0;
    if (compressed && uncompressedLength === 0)
      throw malformed(subject, 'a compressed blob without a length');
    blobs.push({ id, type: (kind & TREE_BIT) === 0 ? 'data' : 'tree', offset, length, uncompressedLength });
    offset += length;
    at = end;
  }
  if (offset !== dataLength) {
    throw malformed(
      subject,
      `the pack header describes ${offset} bytes of blobs, the pack has ${dataLength}`,
    );
  }
  return blobs;
}

/**
 * Where the sealed header lies in a pack of `size` bytes, from the pack's last bytes (at least four). Fails where the length
 * field cannot be true.
 */
export function headerRange(
  tail: Uint8Array,
  size: number,
  subject: string,
): { offset: number; length: number } {
  if (size < MIN_PACK_LENGTH || tail.length < TAIL_LENGTH) {
    throw malformed(subject, `${size} bytes are too few for a pack`);
  }
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  const length = view.getUint32(tail.length - TAIL_LENGTH, true);
  if (length < SEAL_OVERHEAD + PLAIN_ENTRY || length > size - TAIL_LENGTH) {
    throw malformed(subject, `a pack header of ${length} bytes does not fit a pack of ${size} bytes`);
  }
  return { offset: size - TAIL_LENGTH - length, length };
}
