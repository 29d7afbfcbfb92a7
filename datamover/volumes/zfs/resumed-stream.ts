import { withNumbers } from './nvlist.ts';
import type { BeginRecord, SendRecord } from './record.ts';
import { HEADER_BYTES } from './record.ts';
import { Refusal } from '../refusal.ts';
import type { ResumePoint } from './resume-token.ts';
import { SendStream, type SendStreamHandler } from './send-stream.ts';
import { StreamWriter } from './stream-writer.ts';

/** DMU_BACKUP_FEATURE_RESUMING in drr_versioninfo, whose two lowest bits are the header's kind. */
const RESUMING = 1n << (20n + 2n);
const PAYLOAD_LENGTH_AT = 4;
const VERSION_AT = 16;

/**
 * Makes of a whole send stream the rest of it from a place on, as `zfs send -t` would: for a receive that was interrupted there
 * (OpenZFS, module/zfs/dmu_send.c and dmu_recv.c). Each object from that of the place on is announced again; data follow from
 * the place. The stream is verified on the way: nothing of the rest is given of one that is damaged before.
 */
export async function* resumedStream(
  stream: AsyncIterable<Uint8Array>,
  place: ResumePoint,
): AsyncGenerator<Uint8Array> {
  const rest = new Rest(place);
  const reader = new SendStream(rest);
  rest.reader = reader;
  for await (const chunk of stream) {
    reader.push(chunk);
    yield* rest.take();
  }
  reader.end();
  yield* rest.take();
}

class Rest implements SendStreamHandler {
  reader: SendStream | undefined;
  readonly #place: ResumePoint;
  #writer: StreamWriter | undefined;
  #parts: Uint8Array[] = [];
  #wanted = false;
  /** BEGIN and its payload, which is given with more in it. */
  #begin: { header: Buffer; payload: Buffer; bigEndian: boolean } | undefined;

  constructor(place: ResumePoint) {
    this.#place = place;
  }

  take(): Uint8Array[] {
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  record(record: SendRecord): void {
    const header = this.reader?.header() ?? new Uint8Array(HEADER_BYTES);
    if (record.type === 'BEGIN') {
      this.#start(record, header);
      return;
    }
    this.#wanted = belongs(record, this.#place);
    if (this.#wanted && this.#writer !== undefined)
      this.#parts.push(this.#writer.header(header, record.type));
  }

  payload(record: SendRecord, bytes: Uint8Array, at: number): void {
    if (record.type === 'BEGIN') {
      this.#begin?.payload.set(bytes, at);
      if (at + bytes.length === record.payloadBytes) this.#giveBegin();
    } else if (this.#wanted && this.#writer !== undefined) {
      this.#parts.push(this.#writer.payload(bytes));
    }
  }

  #start(record: BeginRecord, header: Uint8Array): void {
    const { toGuid, fromGuid, bigEndian, payloadBytes } = record;
    if (toGuid !== this.#place.toGuid || fromGuid !== this.#place.fromGuid) {
      throw new Refusal(
        `it is the stream of the snapshot with guid ${toGuid}, but the receive was of ${this.#place.toGuid}`,
      );
    }
    this.#begin = { header: Buffer.from(header), payload: Buffer.alloc(payloadBytes), bigEndian };
    if (payloadBytes === 0) this.#giveBegin();
  }

  #giveBegin(): void {
    if (this.#begin === undefined) return;
    const { header, payload, bigEndian } = this.#begin;
    const list = withNumbers(payload, {
      resume_object: BigInt(this.#place.object),
      resume_offset: BigInt(this.#place.offset),
    });
    const view = new DataView(header.buffer, header.byteOffset, header.length);
    view.setBigUint64(VERSION_AT, view.getBigUint64(VERSION_AT, !bigEndian) | RESUMING, !bigEndian);
    view.setUint32(PAYLOAD_LENGTH_AT, list.length, !bigEndian);
    this.#writer = new StreamWriter(bigEndian);
    this.#parts.push(this.#writer.header(header, 'BEGIN'), this.#writer.payload(list));
    this.#begin = undefined;
  }
}

/** Whether a record lies behind the place, or is needed again for what does. */
function belongs(record: SendRecord, { object, offset }: ResumePoint): boolean {
  switch (record.type) {
    case 'BEGIN':
    case 'END':
      return true;
    case 'UNKNOWN':
      throw new Refusal('a record unknown to this version cannot be told to lie behind the place');
    case 'OBJECT':
    case 'SPILL':
      return record.object >= object;
    case 'FREEOBJECTS':
      return record.firstObject + record.count > object;
    case 'OBJECT_RANGE':
      return record.firstObject + record.slots > object;
    case 'WRITE':
    case 'FREE':
    case 'REDACT':
    case 'WRITE_EMBEDDED':
      return record.object > object || (record.object === object && (record.offset ?? 0) >= offset);
  }
}
