import type { RecordType, SendRecord } from '../record.ts';
import { SendStream } from '../send-stream.ts';
import { StreamWriter } from '../stream-writer.ts';

/** Where each kind of record names its snapshot. */
const GUID_AT: Partial<Record<RecordType, number>> = {
  BEGIN: 40,
  OBJECT: 40,
  WRITE: 40,
  END: 40,
  FREE: 32,
  REDACT: 32,
  WRITE_EMBEDDED: 32,
  FREEOBJECTS: 24,
  SPILL: 24,
  OBJECT_RANGE: 24,
};

/** A little-endian stream as if a later snapshot had been sent: another guid, other checksums, and what `change` makes of payloads. */
export function resent(
  stream: Buffer,
  toGuid: bigint,
  change: (record: SendRecord, payload: Buffer) => Buffer = (_, payload) => payload,
): Buffer {
  const writer = new StreamWriter(false);
  const parts: Uint8Array[] = [];
  const reader = new SendStream({
    record: (record) => {
      const header = Buffer.from(reader.header());
      header.writeBigUInt64LE(toGuid, GUID_AT[record.type] ?? 40);
      parts.push(writer.header(header, record.type));
    },
    payload: (record, bytes) => void parts.push(writer.payload(change(record, Buffer.from(bytes)))),
  });
  reader.push(stream);
  reader.end();
  return Buffer.concat(parts);
}
