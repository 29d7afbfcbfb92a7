import { noise } from '../../repository/testing/bytes.ts';
import { StreamEncoder } from '../../volumes/zfs/testing/encoder.ts';

export const FILE_BLOCK = 128 << 10;

/** A send stream of one file that has so many blocks, with these of them, of noise. */
export function fileStream(
  toGuid: bigint,
  fromGuid: bigint,
  fileBlocks: number,
  blocks: Iterable<number>,
): Buffer {
  const encoder = new StreamEncoder({ toGuid, fromGuid, featureFlags: 0x800004, content: 2, flags: 12 });
  encoder.record({
    type: 1,
    u64: { 8: 1, 40: toGuid },
    u32: { 16: 19, 20: 44, 24: FILE_BLOCK, 28: 8 },
    u8: { 34: 1 },
    payload: Buffer.alloc(8),
  });
  encoder.free(1, fileBlocks * FILE_BLOCK, (1n << 64n) - 1n);
  for (const block of blocks) encoder.write(1, block * FILE_BLOCK, noise(`${toGuid} ${block}`, FILE_BLOCK));
  return encoder.end();
}
