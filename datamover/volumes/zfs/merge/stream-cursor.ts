import { DatamoverError } from '../../../errors.ts';
import { Refusal } from '../../refusal.ts';
import type { BeginRecord, SendRecord } from '../record.ts';
import { SendStream, type SendStreamHandler } from '../send-stream.ts';
import { checkOrder, START_OF_ORDER, type OrderState } from './record-order.ts';

/** A record with its payload, as parts of the chunks in which it came. */
export interface WholeRecord<R extends SendRecord = SendRecord> {
  readonly record: R;
  readonly header: Uint8Array;
  readonly payload: readonly Uint8Array[];
}

/**
 * Reads one stream of a chain record by record. Chunks must stay as they are. A record is handed out only when the header behind
 * it, whose checksum covers it, was found right.
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
  #open:
    { readonly record: SendRecord; readonly header: Uint8Array; readonly payload: Uint8Array[] } | undefined;

  record(record: SendRecord): void {
    this.finish();
    this.#open = { record, header: Uint8Array.from(this.reader?.header() ?? []), payload: [] };
  }

  payload(_: SendRecord, bytes: Uint8Array): void {
    this.#open?.payload.push(bytes);
  }

  /** The record that is there is whole, and right. */
  finish(): void {
    if (this.#open !== undefined) this.#whole.push(this.#open);
    this.#open = undefined;
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
