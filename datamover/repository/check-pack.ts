import { DatamoverError, describeCause } from '../errors.ts';
import { openBlob } from './blob.ts';
import { open } from './crypto/cipher.ts';
import { sha256, shortId } from './id.ts';
import { decodePackHeader, headerRange } from './pack-header.ts';
import { release } from './saver/pack-slot.ts';
import type { MasterKey, Pack, PackedBlob } from './types.ts';

/**
 * Looks at every byte of a pack: its name, its header against the index, and each blob that the index promises. Returns what is wrong, a
 * sentence each; a pack can fail by its name and still hold all its blobs whole.
 */
export function checkPack(key: MasterKey, pack: Pack, bytes: Uint8Array): string[] {
  const problems: string[] = [];
  const name = `pack ${pack.id}`;
  if (sha256(bytes) !== pack.id)
    problems.push(`${name}: its ${bytes.length} bytes do not have the SHA-256 that names it`);
  try {
    problems.push(
      ...compareHeader(readHeader(key, bytes, name), pack).map((difference) => `${name}: ${difference}`),
    );
  } catch (error) {
    problems.push(`${name}: its header cannot be read: ${describeCause(error)}`);
  }
  for (const blob of pack.blobs) {
    const subject = `${blob.type} blob ${blob.id}`;
    if (blob.offset + blob.length > bytes.length) {
      problems.push(`${name}: ${subject} lies beyond the end of the file`);
      continue;
    }
    try {
      // Reading a pack makes as much garbage as the pack is long: it goes at once.
      release(openBlob(key, blob, bytes.subarray(blob.offset, blob.offset + blob.length), subject));
    } catch (error) {
      if (!(error instanceof DatamoverError)) throw error;
      problems.push(`${name}: ${subject} at byte ${blob.offset} is damaged: ${describeCause(error.cause)}`);
    }
  }
  return problems;
}

/** The blobs of a whole pack by its own header. */
export function readHeader(key: MasterKey, bytes: Uint8Array, subject: string): PackedBlob[] {
  const { offset, length } = headerRange(bytes.subarray(-4), bytes.length, subject);
  return decodePackHeader(open(key, bytes.subarray(offset, offset + length), subject), offset, subject);
}

/** How the header and the index differ, in words. */
function compareHeader(header: readonly PackedBlob[], pack: Pack): string[] {
  const key = (blob: PackedBlob): string =>
    `${blob.type} ${blob.id} ${blob.offset} ${blob.length} ${blob.uncompressedLength}`;
  const inHeader = new Set(header.map(key));
  const inIndex = new Set(pack.blobs.map(key));
  const say = (blobs: readonly PackedBlob[], other: ReadonlySet<string>, where: string): string[] => {
    const odd = blobs.filter((blob) => !other.has(key(blob)));
    const [first] = odd;
    if (first === undefined) return [];
    return [
      `${odd.length} blobs are in ${where} alone, ${first.type} blob ${shortId(first.id)} the first of them`,
    ];
  };
  return [...say(header, inIndex, 'its header'), ...say(pack.blobs, inHeader, 'the index')];
}
