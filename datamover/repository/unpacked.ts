import { DatamoverError } from '../errors.ts';
import { compress, decompress } from './compression.ts';

/**
 * The plaintext of index, lock and snapshot files (restic's design document, "Unpacked Data Format"): in version 1 the JSON
 * itself; in version 2 one byte of encoding, today always 2, and the JSON as a zstd frame. A first byte `{` or `[` means plain
 * JSON in either version.
 */
const ZSTD_ENCODING = 2;
const PLAIN_ENCODINGS: readonly number[] = [0x5b, 0x7b];

/** Documents are small and read often: zstd's own default is right for them whatever the data's compression is. */
const DOCUMENT_LEVEL = 3;

export function encodeUnpacked(json: Uint8Array, version: 1 | 2): Uint8Array {
  if (version === 1) return json;
  const compressed = compress(json, DOCUMENT_LEVEL);
  const encoded = new Uint8Array(1 + compressed.length);
  encoded[0] = ZSTD_ENCODING;
  encoded.set(compressed, 1);
  return encoded;
}

/** The JSON of an authenticated plaintext; `subject` names the file in errors. */
export function decodeUnpacked(plaintext: Uint8Array, subject: string): Uint8Array {
  const encoding = plaintext[0];
  if (encoding === undefined || PLAIN_ENCODINGS.includes(encoding)) return plaintext;
  if (encoding === ZSTD_ENCODING) return decompress(plaintext.subarray(1), subject);
  throw new DatamoverError({
    operation: 'read',
    subject,
    cause: `its encoding ${encoding} is unknown`,
    hint: 'it may come from a newer program',
  });
}
