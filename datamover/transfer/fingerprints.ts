import type { BackupSession } from '../repository/backup-session.ts';
import { FINGERPRINT_BYTES } from '../repository/crypto/fingerprint.ts';
import { fileNode, type TreeNode } from '../repository/tree.ts';
import type { Id } from '../repository/types.ts';
import { FINGERPRINTS_FILE } from './layout.ts';

/** Places of a part, those of a segment: a long list grows without being copied, and parts where there is none take nothing. */
const PART = 1024;
/** Of a blob whose fingerprint nobody needs or knows. */
export const NO_FINGERPRINT = Buffer.alloc(FINGERPRINT_BYTES);
/** Of the file: a blob each. */
const BLOB_BYTES = 1 << 20;

/** The fingerprints of a file's blobs by position, 16 bytes each, filled in any order; zeros where there is none. */
export class FingerprintList {
  readonly #parts: (Buffer | undefined)[] = [];

  set(position: number, fingerprint: Uint8Array): void {
    const part = Math.floor(position / PART);
    let own = this.#parts[part];
    if (own === undefined) {
      if (NO_FINGERPRINT.equals(fingerprint)) return;
      this.#parts[part] = own = Buffer.alloc(PART * FINGERPRINT_BYTES);
    }
    own.set(fingerprint, (position % PART) * FINGERPRINT_BYTES);
  }

  /** 16 bytes. */
  at(position: number): Uint8Array {
    const part = this.#parts[Math.floor(position / PART)];
    return part === undefined ? NO_FINGERPRINT : fingerprintAt(part, position % PART);
  }

  /** 16 bytes of each of the first `count` blobs; undefined where none has a fingerprint. */
  encode(count: number): Buffer | undefined {
    if (this.#parts.length === 0) return undefined;
    const encoded = Buffer.alloc(count * FINGERPRINT_BYTES);
    this.#parts.forEach((part, i) => {
      const at = i * PART * FINGERPRINT_BYTES;
      if (at < encoded.length) part?.copy(encoded, at, 0, encoded.length - at);
    });
    return encoded.some((byte) => byte !== 0) ? encoded : undefined;
  }
}

/** The file with these fingerprints, to stand beside the one with `count` blobs that they are of: one node, or none. */
export async function saveFingerprints(
  session: Pick<BackupSession, 'saveData'>,
  list: FingerprintList,
  count: number,
): Promise<TreeNode[]> {
  const encoded = list.encode(count);
  if (encoded === undefined) return [];
  const blobs: Id[] = [];
  for (let at = 0; at < encoded.length; at += BLOB_BYTES)
    blobs.push(await session.saveData(encoded.subarray(at, at + BLOB_BYTES)));
  return [fileNode(FINGERPRINTS_FILE, encoded.length, blobs)];
}

/** The fingerprint of one of a file's blobs. */
export function fingerprintAt(fingerprints: Uint8Array, blob: number): Uint8Array {
  return fingerprints.subarray(blob * FINGERPRINT_BYTES, (blob + 1) * FINGERPRINT_BYTES);
}
