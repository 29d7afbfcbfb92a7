import { open } from 'node:fs/promises';
import type { ByteRange, RangeContent } from '../driver.ts';

/** Reads ranges of a file or device in their order. */
export async function* readRanges(
  path: string,
  ranges: readonly ByteRange[],
  signal?: AbortSignal,
): AsyncGenerator<RangeContent> {
  const file = await open(path, 'r');
  try {
    for (const { offset, length } of ranges) {
      signal?.throwIfAborted();
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
      yield { offset, bytes: buffer.subarray(0, bytesRead) };
    }
  } finally {
    await file.close();
  }
}
