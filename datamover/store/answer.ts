import { StoreFailure } from './failure.ts';
import type { ByteRange } from './store.ts';

/**
 * The bytes that an answer of `total` bytes of file may take: checks the range against the file. `total` is undefined where the
 * store does not tell.
 */
export function checkRange(range: ByteRange | undefined, total: number, subject: string): ByteRange {
  if (range === undefined) return { offset: 0, length: total };
  const { offset, length } = range;
  if (
    !Number.isSafeInteger(offset) ||
    !Number.isSafeInteger(length) ||
    offset < 0 ||
    length < 0 ||
    offset + length > total
  ) {
    throw new StoreFailure({
      operation: 'load',
      subject,
      cause: `bytes ${offset} to ${offset + length} are not within the file's ${total}`,
      reason: 'range',
    });
  }
  return range;
}

/** The memory for an answer of `length` bytes: the caller's, if it gave some, else new. */
export function memoryFor(length: number, into: Uint8Array | undefined, subject: string): Uint8Array {
  if (into === undefined) return new Uint8Array(length);
  if (into.length < length) {
    throw new StoreFailure({
      operation: 'load',
      subject,
      cause: `${length} bytes do not fit into the ${into.length} given for them`,
      reason: 'refused',
    });
  }
  return into.subarray(0, length);
}
