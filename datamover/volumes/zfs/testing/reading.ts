import type { SendRecord } from '../record.ts';
import { SendStream } from '../send-stream.ts';

export interface ReadRecord {
  readonly record: SendRecord;
  readonly payload: Buffer;
}

/** Reads a stream in chunks of these lengths, the last of them for all that is left. */
export function readStream(bytes: Uint8Array, chunks: readonly number[] = [65536]): ReadRecord[] {
  const read: { record: SendRecord; parts: Buffer[] }[] = [];
  const stream = new SendStream({
    record: (record) => void read.push({ record, parts: [] }),
    payload: (_, part) => void read.at(-1)?.parts.push(Buffer.from(part)),
  });
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = Math.max(1, chunks[Math.min(i, chunks.length - 1)] ?? 1);
    stream.push(bytes.subarray(at, at + length));
    at += length;
  }
  stream.end();
  return read.map(({ record, parts }) => ({ record, payload: Buffer.concat(parts) }));
}
