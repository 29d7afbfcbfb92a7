import type { RecordType } from '../record.ts';
import { StreamWriter } from '../stream-writer.ts';
import type { HeaderFields } from './headers.ts';
import type { WholeRecord } from './stream-cursor.ts';

/** What is handed on at once; a record of 8 KiB alone would cost more to pass on than to merge. */
const CHUNK_BYTES = 256 << 10;

/** The records of a merged stream, with the checksums and the guid that they have there, gathered into chunks. */
export class MergedOutput {
  readonly #writer: StreamWriter;
  readonly #fields: HeaderFields;
  readonly #toGuid: bigint;
  #chunk = new Uint8Array(CHUNK_BYTES);
  #fill = 0;
  #full: Uint8Array[] = [];

  constructor(bigEndian: boolean, fields: HeaderFields, toGuid: bigint) {
    this.#writer = new StreamWriter(bigEndian);
    this.#fields = fields;
    this.#toGuid = toGuid;
  }

  put({ record, header, payload }: WholeRecord): void {
    this.header(header, record.type);
    for (const part of payload) this.#append(this.#writer.payload(part));
  }

  header(header: Uint8Array, type: RecordType): void {
    const moved = Uint8Array.from(header);
    this.#fields.moveTo(moved, type, this.#toGuid);
    this.#append(this.#writer.header(moved, type));
  }

  /** Chunks that are full. */
  take(): readonly Uint8Array[] {
    if (this.#full.length === 0) return [];
    const full = this.#full;
    this.#full = [];
    return full;
  }

  /** All that is left. */
  end(): readonly Uint8Array[] {
    return [...this.take(), this.#chunk.subarray(0, this.#fill)];
  }

  #append(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      const count = Math.min(bytes.length - from, CHUNK_BYTES - this.#fill);
      this.#chunk.set(bytes.subarray(from, from + count), this.#fill);
      this.#fill += count;
      from += count;
      if (this.#fill < CHUNK_BYTES) continue;
      this.#full.push(this.#chunk);
      this.#chunk = new Uint8Array(CHUNK_BYTES);
      this.#fill = 0;
    }
  }
}
