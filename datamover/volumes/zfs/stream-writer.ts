import { Fletcher4 } from './fletcher4.ts';
import { END_CHECKSUM_AT, HEADER_BYTES } from './record.ts';

/** Where a header carries the checksum of everything before it. */
const CHECKSUM_AT = HEADER_BYTES - 32;

/**
 * Makes the checksums of a send stream that is put together from records of others, or changed ones: each header, then its
 * payload, in the order of the stream.
 */
export class StreamWriter {
  readonly #checksum: Fletcher4;
  #first = true;

  constructor(bigEndian: boolean) {
    this.#checksum = new Fletcher4(bigEndian);
  }

  /** Gives the header with the checksums that it has in this stream. */
  header(header: Uint8Array, type: string): Uint8Array {
    const sealed = Uint8Array.from(header.subarray(0, HEADER_BYTES));
    if (type === 'END') this.#checksum.put(sealed, END_CHECKSUM_AT);
    this.#checksum.add(sealed, 0, CHECKSUM_AT);
    // The first record, BEGIN, has none.
    if (this.#first) sealed.fill(0, CHECKSUM_AT);
    else this.#checksum.put(sealed, CHECKSUM_AT);
    this.#first = false;
    this.#checksum.add(sealed, CHECKSUM_AT, HEADER_BYTES);
    return sealed;
  }

  payload(bytes: Uint8Array): Uint8Array {
    this.#checksum.add(bytes, 0, bytes.length);
    return bytes;
  }
}
