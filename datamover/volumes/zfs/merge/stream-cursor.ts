import { DatamoverError } from '../../../errors.ts';
import { Refusal } from '../../refusal.ts';
import type { BeginRecord, SendRecord } from '../record.ts';
import { SendStream, type SendStreamHandler } from '../send-stream.ts';
import { checkOrder, START_OF_ORDER, type OrderState } from './record-order.ts';

/** A record with its payload, as parts of the chunks in which it came: the cursor's, until it goes on. */
export interface WholeRecord<R extends SendRecord = SendRecord> {
  readonly record: R;
  readonly header: Uint8Array;
  readonly payload: readonly Uint8Array[];
}

/** The same as the caller's own. */
export function copied(whole: WholeRecord): WholeRecord {
  return { ...whole, payload: whole.payload.map((part) => Uint8Array.from(part)) };
}

/**
 * Reads one stream of a chain record by record. A chunk is only read until the next is asked for. A record is handed out only when
 * the header behind it, whose checksum covers it, was found right.
 */
export class StreamCursor {
  /** `stream 2 of 5 (tank/files@monday)`. */
  #name: string;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #records = new RecordQueue();
  readonly #stream: SendStream;
  #head: WholeRecord | undefined;
  #order: OrderState = START_OF_ORDER;

  /** `name`: for messages. */
  constructor(chunks: AsyncIterable<Uint8Array>, name: string) {
    this.#name = name;
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#stream = new SendStream(this.#records);
    this.#records.reader = this.#stream;
  }

  get name(): string {
    return this.#name;
  }

  /** The record at which the cursor stands; the END stays. */
  get head(): WholeRecord {
    if (this.#head === undefined) throw new Error(`${this.#name} has not been opened`);
    return this.#head;
  }

  /** Reads BEGIN, and stands there. */
  async open(): Promise<WholeRecord<BeginRecord>> {
    await this.#read();
    const begin = this.#head;
    if (begin?.record.type !== 'BEGIN') throw this.refusal('it has no beginning');
    this.#name += ` (${begin.record.toName})`;
    return begin as WholeRecord<BeginRecord>;
  }

  async advance(): Promise<void> {
    if (this.head.record.type === 'END') return;
    await this.#read();
    const { record } = this.head;
    try {
      this.#order = checkOrder(this.#order, record);
    } catch (error) {
      throw error instanceof Refusal ? this.refusal(error.message, error.hint) : error;
    }
  }

  refusal(cause: string, hint?: string): DatamoverError {
    return new DatamoverError({
      operation: 'merge ZFS send streams',
      subject: this.#name,
      cause,
      ...(hint !== undefined && { hint }),
    });
  }

  /** Lets go of the stream, which need not be at its end. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #read(): Promise<void> {
    for (;;) {
      const record = this.#records.shift();
      if (record !== undefined) {
        this.#head = record;
        return;
      }
      this.#records.ownOpen();
      const next = await this.#chunks.next();
      try {
        if (next.done === true) {
          this.#stream.end();
          this.#records.finish();
        } else {
          this.#stream.push(next.value);
        }
      } catch (error) {
        throw new DatamoverError({ operation: 'merge ZFS send streams', subject: this.#name, cause: error });
      }
    }
  }
}

/** Keeps the records of a chunk until they are taken. */
class RecordQueue implements SendStreamHandler {
  reader: SendStream | undefined;
  #whole: WholeRecord[] = [];
  #taken = 0;
  #open: OpenRecord | undefined;
  /** Where a record is put together that lies in several chunks; one at a time does. */
  #room = new Uint8Array();

  record(record: SendRecord): void {
    this.finish();
    this.#open = {
      ...{ record, header: Uint8Array.from(this.reader?.header() ?? []), payload: [] },
      own: undefined,
    };
  }

  payload(_: SendRecord, bytes: Uint8Array, at: number): void {
    const open = this.#open;
    if (open?.own === undefined) open?.payload.push(bytes);
    else open.own.set(bytes, at);
  }

  /** The record that is there is whole, and right. */
  finish(): void {
    const open = this.#open;
    if (open !== undefined)
      this.#whole.push(open.own === undefined ? open : { ...open, payload: [open.own] });
    this.#open = undefined;
  }

  /** Before the next chunk takes the place of the one that the record began in: all before it have been used. */
  ownOpen(): void {
    const open = this.#open;
    if (open === undefined || open.own !== undefined || open.record.payloadBytes === 0) return;
    const { payloadBytes } = open.record;
    if (this.#room.length < payloadBytes) this.#room = new Uint8Array(payloadBytes);
    open.own = this.#room.subarray(0, payloadBytes);
    let at = 0;
    for (const part of open.payload) {
      open.own.set(part, at);
      at += part.length;
    }
  }

  shift(): WholeRecord | undefined {
    const next = this.#whole[this.#taken];
    if (next === undefined) {
      this.#whole = [];
      this.#taken = 0;
      return undefined;
    }
    this.#taken++;
    return next;
  }
}

interface OpenRecord extends WholeRecord {
  readonly payload: Uint8Array[];
  /** Its payload in memory of the queue; undefined while it lies in one chunk. */
  own: Uint8Array | undefined;
}
