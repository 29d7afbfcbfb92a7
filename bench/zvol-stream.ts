import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { StreamWriter } from '../datamover/volumes/zfs/stream-writer.ts';
import { StreamEncoder } from '../datamover/volumes/zfs/testing/encoder.ts';

/** OpenZFS's default since 2.3. */
const BLOCK = 16_384;
const DATA_OBJECT = 1;
/** Of the header of a WRITE record: where in the object its payload goes. */
const OFFSET_AT = 24;
/** Records that are written at once. */
const BLOCKS_AT_ONCE = 64;

/** A full send stream of a zvol with the file's content, as `zfs send` writes it: a record for each block, checksums right. */
export function writeZvolStream(image: string, stream: string): void {
  const [from, to] = [openSync(image, 'r'), openSync(stream, 'wx')];
  try {
    for (const part of zvolStream(from)) writeFully(to, part);
  } finally {
    closeSync(from);
    closeSync(to);
  }
}

/** The stream in parts, each of some records; of a volume of `most` bytes where the file is larger. */
export function* zvolStream(fd: number, most = Infinity): Generator<Uint8Array> {
  const writer = new StreamWriter(false);
  const size = Math.min(fstatSync(fd).size, most);
  const records = template(size);
  const sealed = (index: number, type: string): Uint8Array[] => {
    const { header, payload } = recordAt(records, index);
    return [writer.header(header, type), ...(payload.length > 0 ? [writer.payload(payload)] : [])];
  };
  yield Buffer.concat([...sealed(0, 'BEGIN'), ...sealed(1, 'OBJECT'), ...sealed(2, 'FREE')]);
  const write = Buffer.from(recordAt(records, 3).header);
  let waiting: Uint8Array[] = [];
  for (let offset = 0; offset < size; offset += BLOCK) {
    const payload = Buffer.alloc(BLOCK);
    readBlock(fd, offset, payload);
    write.writeBigUInt64LE(BigInt(offset), OFFSET_AT);
    waiting.push(writer.header(write, 'WRITE'), writer.payload(payload));
    if (waiting.length < 2 * BLOCKS_AT_ONCE) continue;
    yield Buffer.concat(waiting);
    waiting = [];
  }
  yield Buffer.concat([...waiting, ...sealed(4, 'OBJECT'), ...sealed(5, 'WRITE'), ...sealed(6, 'END')]);
}

interface Draft {
  readonly header: Buffer;
  readonly payload: Buffer;
}

function recordAt(records: readonly Draft[], index: number): Draft {
  const record = records[index];
  if (record === undefined) throw new Error(`the template has no record ${index}`);
  return record;
}

/** One record of each kind that the stream has, in its order; their checksums are made anew. */
function template(size: number): Draft[] {
  const encoder = new StreamEncoder()
    .object(DATA_OBJECT, 23, BLOCK)
    .free(DATA_OBJECT, 0, 0xffffffffffffffffn)
    .write(DATA_OBJECT, 0, Buffer.alloc(BLOCK))
    .object(2, 24, 512)
    .write(2, 0, properties(size));
  const bytes = encoder.end();
  const headerBytes = 312;
  return encoder.starts.map((start, i) => ({
    header: bytes.subarray(start, start + headerBytes),
    payload: bytes.subarray(start + headerBytes, encoder.starts[i + 1] ?? bytes.length),
  }));
}

/** The volume's properties as ZFS stores them: a table with the size as its one entry. */
function properties(size: number): Buffer {
  const block = Buffer.alloc(512);
  block.writeBigUInt64LE(0x8000000000000003n, 0);
  block.writeBigUInt64LE(BigInt(size), 64);
  block.write('size', 78);
  return block;
}

function readBlock(fd: number, offset: number, block: Buffer): number {
  let read = 0;
  for (let more = 1; more > 0 && read < block.length; read += more)
    more = readSync(fd, block, read, block.length - read, offset + read);
  return read;
}

function writeFully(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}
