import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { ChecksumAlgorithm } from './config.ts';

/** The header by which S3 checks what it received, `x-amz-checksum-ALGORITHM`. */
export function checksumHeader(algorithm: ChecksumAlgorithm, body: Uint8Array): Record<string, string> {
  return { [`x-amz-checksum-${algorithm.toLowerCase()}`]: digest(algorithm, body).toString('base64') };
}

function digest(algorithm: ChecksumAlgorithm, body: Uint8Array): Buffer {
  switch (algorithm) {
    case 'CRC32':
      return bigEndian(crc32(body));
    case 'CRC32C':
      return bigEndian(crc32c(body));
    case 'SHA1':
    case 'SHA256':
      return createHash(algorithm).update(body).digest();
  }
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Castagnoli's polynomial, bits reversed (RFC 3720, appendix B.4). */
const CASTAGNOLI = 0x82f63b78;
let table: Uint32Array | undefined;

function crc32c(body: Uint8Array): number {
  table ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ CASTAGNOLI : value >>> 1;
    return value;
  });
  let crc = 0xffffffff;
  for (const byte of body) crc = (table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
