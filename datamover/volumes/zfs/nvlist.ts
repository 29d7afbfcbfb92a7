/**
 * OpenZFS' name-value lists in their native packed form (include/sys/nvpair.h, module/nvpair/nvpair.c): four bytes of encoding
 * and byte order, version and flags, then pairs, and four zero bytes. A pair: its size (4 bytes), the name's length with its
 * NUL (2), two unused, the number of elements (4), the type (4), the name and the value, each padded to eight bytes.
 */
const HEADER = Buffer.from([0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
const TERMINATOR = Buffer.alloc(4);
const TYPE_UINT64 = 8;
const TYPE_STRING = 9;
const PAIR_HEADER = 16;

/** The numbers and texts of a list; what else it has is left out. Throws for what is no such list. */
export function readNvlist(packed: Uint8Array): Map<string, bigint | string> {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length);
  checkHeader(bytes);
  const found = new Map<string, bigint | string>();
  for (let at = HEADER.length; ;) {
    const size = at + 4 <= bytes.length ? bytes.readInt32LE(at) : -1;
    if (size === 0) return found;
    if (size < PAIR_HEADER || at + size > bytes.length) throw new Error('a name-value list is cut short');
    const nameLength = bytes.readInt16LE(at + 4);
    const type = bytes.readInt32LE(at + 12);
    const name = bytes.toString('utf8', at + PAIR_HEADER, at + PAIR_HEADER + nameLength - 1);
    const value = bytes.subarray(at + padded(PAIR_HEADER + nameLength), at + size);
    if (type === TYPE_UINT64 && value.length >= 8) found.set(name, value.readBigUInt64LE(0));
    if (type === TYPE_STRING) found.set(name, value.toString('utf8', 0, value.indexOf(0)));
    at += size;
  }
}

/** The list with numbers added at its end; a new one where there is none. */
export function withNumbers(packed: Uint8Array, numbers: Readonly<Record<string, bigint>>): Buffer {
  const list = packed.length === 0 ? Buffer.concat([HEADER, TERMINATOR]) : Buffer.from(packed);
  checkHeader(list);
  const pairs = Object.entries(numbers).map(([name, value]) => numberPair(name, value));
  return Buffer.concat([list.subarray(0, -TERMINATOR.length), ...pairs, TERMINATOR]);
}

function numberPair(name: string, value: bigint): Buffer {
  const valueAt = padded(PAIR_HEADER + name.length + 1);
  const pair = Buffer.alloc(valueAt + 8);
  pair.writeInt32LE(pair.length, 0);
  pair.writeInt16LE(name.length + 1, 4);
  pair.writeInt32LE(1, 8);
  pair.writeInt32LE(TYPE_UINT64, 12);
  pair.write(name, PAIR_HEADER, 'latin1');
  pair.writeBigUInt64LE(value, valueAt);
  return pair;
}

function checkHeader(bytes: Buffer): void {
  if (bytes.length < HEADER.length + TERMINATOR.length || bytes[0] !== 0 || bytes[1] !== 1) {
    throw new Error('a name-value list is not in the native form of a little-endian machine');
  }
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}
