import { DatamoverError } from '../../errors.ts';

/**
 * The streams of `rbd export-diff` (Ceph's doc/dev/rbd-diff.rst, and what 16.2.15 really writes). All integers are little-endian,
 * a string is a u32 length and its bytes. After a banner come records, each a tag of one byte; in version 2 a u64 with the
 * record's length follows every tag but `e`.
 *
 * | tag | record | |
 * |---|---|---|
 * | `f` | string | the snap that the diff starts from; without it the diff is a full one |
 * | `t` | string | the snap that it leads to; without it the image's head |
 * | `p` | u8 | version 2: whether that snap is protected |
 * | `s` | u64 | the image's size at its end |
 * | `w` | u64 offset, u64 length, data | new content |
 * | `z` | u64 offset, u64 length | zeros |
 * | `e` | | the end |
 *
 * There is no checksum: a flipped bit in a payload cannot be noticed here.
 */
export const BANNERS = { 1: 'rbd diff v1\n', 2: 'rbd diff v2\n' } as const;

export type DiffVersion = keyof typeof BANNERS;

/** What a stream says of itself before its first extent. */
export interface DiffHeader {
  readonly version: DiffVersion;
  /** Undefined in a full diff. */
  readonly fromSnap?: string;
  /** Undefined where the diff leads to the image's head. */
  readonly toSnap?: string;
  /** Of `toSnap`; only version 2 tells. */
  readonly protected?: boolean;
  /**
   * The image's size after the diff, in bytes. An image that was larger is to be cut first: there are no records for what was
   * cut off.
   */
  readonly bytes: number;
}

/** Receives a diff in the order of its records. Extents ascend and do not overlap. */
export interface DiffHandler {
  begin(header: DiffHeader): void;
  /** The range gets new content, which follows in calls of `data` before anything else. */
  write(offset: number, length: number): void;
  /** The next bytes of the range, to be put at `offset`: a view of memory that the caller of `push` owns. */
  data(offset: number, bytes: Uint8Array): void;
  /** The range reads as zeros from now on. */
  zero(offset: number, length: number): void;
  /** The end record came. The diff counts only when the program that wrote it has also ended well. */
  end(): void;
}

/** Ceph's own readers take no longer names. */
export const MAX_NAME_BYTES = 4096;

/** The 8 bytes at `at` as a number; undefined beyond 2^53, which no image reaches. */
export function readU64(bytes: Buffer, at: number): number | undefined {
  const high = bytes.readUInt32LE(at + 4);
  return high < 2 ** 21 ? high * 2 ** 32 + bytes.readUInt32LE(at) : undefined;
}

export function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** Holds the rules for extents in one place, for the reader and the encoder; `check` gives what is wrong with one. */
export class ExtentOrder {
  readonly #imageBytes: number;
  #end = 0;

  constructor(imageBytes: number) {
    this.#imageBytes = imageBytes;
  }

  check(offset: number | undefined, length: number | undefined): string | undefined {
    if (offset === undefined || length === undefined) return 'an offset or length beyond 2^53';
    // A sum of two safe integers is exact enough to compare with one.
    if (offset + length > this.#imageBytes)
      return `the extent of ${length} bytes at ${offset} ends beyond the image's ${this.#imageBytes} bytes`;
    if (offset < this.#end)
      return `the extent at ${offset} begins before ${this.#end}, where the last one ended`;
    this.#end = offset + length;
    return undefined;
  }
}

/** One sentence for everything that is wrong with a stream: which record, where it begins and why it is refused. */
export function badRecord(subject: string, cause: string, hint?: string): DatamoverError {
  return new DatamoverError({
    operation: 'read rbd diff',
    subject,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}
