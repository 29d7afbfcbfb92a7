import { DatamoverError } from '../../errors.ts';
import { Fletcher4, type ChecksumMemory } from './fletcher4.ts';
import {
  byteOrder,
  END_CHECKSUM_AT,
  HEADER_BYTES,
  RecordDecoder,
  type SendRecord,
  type UnknownParts,
} from './record.ts';
import { damaged, Refusal } from '../refusal.ts';

/** Who gets the records. What it throws as a Refusal is reported with the record's number and place. */
export interface SendStreamHandler {
  /** A header that is whole and whose checksum is right, as is all before it. Its payload follows. */
  record(record: SendRecord): void;
  /**
   * A part of the record's payload, in order; `at` is its place there. The bytes are the caller's chunk and may change after
   * the call. Whether they are right is known at the next record: nothing may be kept of a stream that fails later.
   */
  payload(record: SendRecord, bytes: Uint8Array, at: number): void;
}

const OPERATION = 'read ZFS send stream';

/**
 * Takes a send stream apart, record by record, as it arrives in chunks of any size. Payloads are handed on as they lie in the
 * chunks, never copied. Every header's checksum covers all of the stream before it and is verified, and END's twice; a stream
 * is whole only when end() has returned. After an error every call throws it again.
 */
export class SendStream {
  readonly #handler: SendStreamHandler;
  readonly #memory: ChecksumMemory | undefined;
  readonly #unknown: UnknownParts;
  /** A header that chunks cut in two. */
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerFill = 0;
  /** Where the record's header lies. */
  readonly #current: { bytes: Uint8Array; at: number } = { bytes: this.#header, at: 0 };
  #checksum: Fletcher4 | undefined;
  #decoder: RecordDecoder | undefined;
  #record: SendRecord | undefined;
  /** Bytes of the record's payload that have come. */
  #payloadFill = 0;
  #records = 0;
  /** The record that is being taken, counted from 1, and where it begins. */
  #number = 0;
  #recordAt = 0;
  #bytes = 0;
  #name = '';
  #failure: Error | undefined;

  constructor(handler: SendStreamHandler, memory?: ChecksumMemory, unknown: UnknownParts = 'refuse') {
    this.#handler = handler;
    this.#memory = memory;
    this.#unknown = unknown;
  }

  /** The bytes of the header that record() was called for; to be copied, for they are the caller's chunk. */
  header(): Uint8Array {
    const { bytes, at } = this.#current;
    return bytes.subarray(at, at + HEADER_BYTES);
  }

  /** Bytes and records so far. */
  get bytes(): number {
    return this.#bytes;
  }

  get records(): number {
    return this.#records;
  }

  push(chunk: Uint8Array): void {
    this.#guard(() => this.#take(chunk));
  }

  /** The stream is over: throws unless END has been seen. */
  end(): void {
    this.#guard(() => {
      const record = this.#record;
      if (record?.type === 'END') return;
      // Between two records it is the next one that is missing.
      if (this.#headerFill === 0 && (record === undefined || !this.#isInPayload(record))) this.#startRecord();
      throw new Refusal(
        this.#bytes === 0 ? 'it is empty' : `it stops after ${this.#bytes} bytes, before its end`,
        'zfs send did not finish: see what it said, and send again',
      );
    });
  }

  #take(chunk: Uint8Array): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let at = 0; at < chunk.length;) {
      const record = this.#record;
      if (record !== undefined && this.#isInPayload(record)) {
        const end = Math.min(chunk.length, at + record.payloadBytes - this.#payloadFill);
        this.#checksum?.add(chunk, at, end);
        const before = this.#payloadFill;
        this.#payloadFill += end - at;
        this.#bytes += end - at;
        this.#handler.payload(record, chunk.subarray(at, end), before);
        at = end;
      } else if (record?.type === 'END') {
        this.#startRecord();
        throw new Refusal(
          'bytes follow after the end of the stream',
          'one backup takes one stream: send one snapshot at a time',
        );
      } else if (this.#headerFill === 0 && chunk.length - at >= HEADER_BYTES) {
        this.#startRecord();
        this.#bytes += HEADER_BYTES;
        this.#takeHeader(chunk, view, at);
        at += HEADER_BYTES;
      } else {
        if (this.#headerFill === 0) this.#startRecord();
        const end = Math.min(chunk.length, at + HEADER_BYTES - this.#headerFill);
        this.#header.set(chunk.subarray(at, end), this.#headerFill);
        this.#headerFill += end - at;
        this.#bytes += end - at;
        at = end;
        if (this.#headerFill === HEADER_BYTES) {
          this.#headerFill = 0;
          this.#takeHeader(this.#header, new DataView(this.#header.buffer), 0);
        }
      }
    }
  }

  #isInPayload(record: SendRecord): boolean {
    return this.#payloadFill < record.payloadBytes;
  }

  #startRecord(): void {
    this.#number++;
    this.#recordAt = this.#bytes;
    this.#name = '';
  }

  #takeHeader(bytes: Uint8Array, view: DataView, at: number): void {
    const first = this.#checksum === undefined || this.#decoder === undefined;
    if (first) {
      const bigEndian = byteOrder(new DataView(view.buffer, view.byteOffset + at, HEADER_BYTES)) === 'big';
      this.#checksum = new Fletcher4(bigEndian, this.#memory);
      this.#decoder = new RecordDecoder(bigEndian, this.#unknown);
    }
    const checksum = this.#checksum;
    const decoder = this.#decoder;
    if (checksum === undefined || decoder === undefined) return;
    this.#name = decoder.typeName(view, at);
    // END repeats in its body the checksum of all before it, which must be compared before its own header counts.
    const endRight = this.#name !== 'END' || checksum.matches(bytes, at + END_CHECKSUM_AT);
    const right = checksum.addHeader(bytes, at);
    // BEGIN has no checksum of its own: the snapshot's name may be there.
    if (!first && !right) {
      throw decoder.foreign
        ? new Refusal(
            'its records cannot be told apart: it has features that are unknown to this version, and a checksum does not fit',
            'if the stream is sound, --as stream keeps it without a look inside',
          )
        : damaged('the checksum of the stream up to here is wrong');
    }
    if (!endRight) throw damaged('the checksum of the whole stream is wrong');
    const record = decoder.decode(view, at);
    // No header follows whose checksum would prove it.
    if (record.type === 'END' && record.payloadBytes > 0) throw damaged('bytes are announced behind the end');
    if (first !== (record.type === 'BEGIN')) throw damaged(first ? 'it is not BEGIN' : 'it begins again');
    this.#record = record;
    this.#records++;
    this.#payloadFill = 0;
    this.#current.bytes = bytes;
    this.#current.at = at;
    this.#handler.record(record);
  }

  #guard(work: () => void): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      work();
    } catch (error) {
      this.#failure = error instanceof Refusal ? this.#locate(error) : (error as Error);
      throw this.#failure;
    }
  }

  #locate(refusal: Refusal): DatamoverError {
    const name = this.#name === '' ? '' : ` (${this.#name})`;
    return new DatamoverError({
      operation: OPERATION,
      subject: `record ${this.#number}${name} at byte ${this.#recordAt}`,
      cause: refusal,
      ...(refusal.hint !== undefined && { hint: refusal.hint }),
    });
  }
}
