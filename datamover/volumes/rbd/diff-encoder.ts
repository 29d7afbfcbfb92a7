import { DatamoverError } from '../../errors.ts';
import {
  BANNERS,
  ExtentOrder,
  MAX_NAME_BYTES,
  writeU64,
  type DiffHandler,
  type DiffHeader,
} from './diff-format.ts';

/** Takes the next bytes of a stream. They may be the caller's own memory: copy what is kept after the call. */
export type Emit = (bytes: Uint8Array) => void;

/**
 * Writes what `rbd import-diff` reads (version 1) or what stands in an export of format 2 (version 2). A handler of `DiffStream`:
 * a diff that is read into an encoder comes out again. Throws when the calls do not make a diff.
 */
export class DiffEncoder implements DiffHandler {
  readonly #emit: Emit;
  #header: DiffHeader | undefined;
  #order: ExtentOrder | undefined;
  /** The next byte and the end of the payload that is under way. */
  #next = 0;
  #until = 0;
  #ended = false;

  constructor(emit: Emit) {
    this.#emit = emit;
  }

  begin(header: DiffHeader): void {
    if (this.#header !== undefined) throw wrong('a second header');
    const { version, fromSnap, toSnap, bytes } = header;
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw wrong(`an image of ${bytes} bytes`);
    if (header.protected !== undefined && (version === 1 || toSnap === undefined))
      throw wrong('a protected snap in version 1 or without the snap');
    const parts: Buffer[] = [Buffer.from(BANNERS[version], 'latin1')];
    if (fromSnap !== undefined) parts.push(this.#record(version, 'f', nameBytes(fromSnap)));
    if (toSnap !== undefined) parts.push(this.#record(version, 't', nameBytes(toSnap)));
    if (header.protected !== undefined)
      parts.push(this.#record(version, 'p', Buffer.from([header.protected ? 1 : 0])));
    const size = Buffer.alloc(8);
    writeU64(size, bytes, 0);
    parts.push(this.#record(version, 's', size));
    this.#header = header;
    this.#order = new ExtentOrder(bytes);
    this.#emit(Buffer.concat(parts));
  }

  write(offset: number, length: number): void {
    this.#extent('w', offset, length, length);
    this.#next = offset;
    this.#until = offset + length;
  }

  data(offset: number, bytes: Uint8Array): void {
    if (this.#header === undefined || offset !== this.#next || offset + bytes.length > this.#until)
      throw wrong(`${bytes.length} bytes of data at ${offset}, not in the extent that is being written`);
    this.#next += bytes.length;
    if (bytes.length > 0) this.#emit(bytes);
  }

  zero(offset: number, length: number): void {
    this.#extent('z', offset, length, 0);
  }

  end(): void {
    this.#ready();
    this.#ended = true;
    this.#emit(Buffer.from('e', 'latin1'));
  }

  #ready(): { header: DiffHeader; order: ExtentOrder } {
    if (this.#header === undefined || this.#order === undefined) throw wrong('no header yet');
    if (this.#ended) throw wrong('the diff has ended');
    if (this.#next !== this.#until)
      throw wrong(`${this.#until - this.#next} bytes of the last extent are missing`);
    return { header: this.#header, order: this.#order };
  }

  #extent(tag: 'w' | 'z', offset: number, length: number, payload: number): void {
    const { header, order } = this.#ready();
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
      throw wrong(`an extent of ${length} bytes at ${offset}`);
    const cause = order.check(offset, length);
    if (cause !== undefined) throw wrong(cause);
    const fields = Buffer.alloc(16);
    writeU64(fields, offset, 0);
    writeU64(fields, length, 8);
    this.#emit(this.#record(header.version, tag, fields, payload));
  }

  /** `payload` bytes follow the record's fields and count into its length. */
  #record(version: DiffHeader['version'], tag: string, fields: Uint8Array, payload = 0): Buffer {
    if (version === 1) return Buffer.concat([Buffer.from(tag, 'latin1'), fields]);
    const head = Buffer.alloc(9);
    head.write(tag, 'latin1');
    writeU64(head, fields.length + payload, 1);
    return Buffer.concat([head, fields]);
  }
}

function nameBytes(name: string): Buffer {
  const bytes = Buffer.from(name, 'utf8');
  if (bytes.length === 0 || bytes.length > MAX_NAME_BYTES)
    throw wrong(`the name of a snap of ${bytes.length} bytes`);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function wrong(cause: string): DatamoverError {
  return new DatamoverError({ operation: 'write rbd diff', cause });
}
