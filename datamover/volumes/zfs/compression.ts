import { inflateSync, zstdDecompressSync } from 'node:zlib';
import { decodeLz4 } from './lz4.ts';
import { decodeLzjb } from './lzjb.ts';
import { damaged, Refusal } from '../refusal.ts';
import { decodeZle } from './zle.ts';

/** ZFS's numbers of compressions (OpenZFS, include/sys/zio_compress.h). */
const OFF = 2;
const LZJB = 3;
const GZIP_1 = 5;
const GZIP_9 = 13;
const ZLE = 14;
const LZ4 = 15;
const ZSTD = 16;

/** RFC 8878, section 3.1.1. ZFS stores zstd frames without it. */
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** Before a zstd frame: its length and its level with the library's version, both big-endian (OpenZFS, include/sys/zstd/zstd.h). */
const ZSTD_HEADER = 8;

/**
 * Unpacks a block as ZFS had it on disk into `output`, whose length is the block's. The stored form is padded to whole
 * sectors, so what follows the compressed data means nothing.
 */
export function decompressBlock(compression: number, stored: Uint8Array, output: Uint8Array): void {
  if (compression >= GZIP_1 && compression <= GZIP_9) {
    fill(output, () => inflateSync(stored, { maxOutputLength: output.length }), 'gzip');
    return;
  }
  switch (compression) {
    case 0:
    case OFF:
      if (stored.length < output.length) throw damaged('a block is shorter than it says');
      output.set(stored.subarray(0, output.length));
      return;
    case LZJB:
      decodeLzjb(stored, output);
      return;
    case ZLE:
      decodeZle(stored, output);
      return;
    case LZ4:
      decodeLz4(announced(stored, 4, 'lz4'), output);
      return;
    case ZSTD: {
      const frame = Buffer.concat([ZSTD_MAGIC, announced(stored, ZSTD_HEADER, 'zstd')]);
      fill(output, () => zstdDecompressSync(frame, { maxOutputLength: output.length }), 'zstd');
      return;
    }
    default:
      throw new Refusal(
        `a block is packed with compression ${compression}, which is unknown to this version`,
        'send without -c',
      );
  }
}

/** The compressed data behind a header of `skip` bytes that begins with their length. */
function announced(stored: Uint8Array, skip: number, name: string): Uint8Array {
  const length =
    stored.length < skip ? Infinity : new DataView(stored.buffer, stored.byteOffset).getUint32(0, false);
  if (skip + length > stored.length) throw damaged(`its ${name} data are cut off`);
  return stored.subarray(skip, skip + length);
}

function fill(output: Uint8Array, decompress: () => Uint8Array, name: string): void {
  let bytes: Uint8Array | undefined;
  try {
    bytes = decompress();
  } catch {
    // zlib's own words name neither the block nor the stream.
  }
  if (bytes?.length !== output.length) throw damaged(`its ${name} data do not unpack`);
  output.set(bytes);
}
