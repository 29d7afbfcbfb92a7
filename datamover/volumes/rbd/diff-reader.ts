import {
  badRecord,
  BANNERS,
  ExtentOrder,
  MAX_NAME_BYTES,
  readU64,
  type DiffHandler,
  type DiffHeader,
  type DiffVersion,
} from './diff-format.ts';
import type { Intake } from './intake.ts';

/** A reader that waits for the next chunk at each `yield`. */
export type Reading<T> = Generator<undefined, T, undefined>;

const BANNER_BYTES = BANNERS[1].length;
/** `p` is one byte, yet 16.2.15 says 8 of it; later versions say 1. */
const PROTECTED_LENGTHS = [1, 8];

const names = new TextDecoder('utf-8', { fatal: true });

/** Reads one diff, from its banner to its end record, in the grammar of diff-format.ts. */
export class DiffReader {
  readonly #intake: Intake;
  readonly #handler: DiffHandler;
  /** Which diff, where a stream has several: begins every complaint. */
  readonly #label: string;
  #version: DiffVersion = 1;
  #record = 0;
  #start: number;
  #header: { -readonly [K in keyof DiffHeader]?: DiffHeader[K] } = {};
  #order: ExtentOrder | undefined;

  constructor(intake: Intake, handler: DiffHandler, label = '') {
    this.#intake = intake;
    this.#handler = handler;
    this.#label = label;
    this.#start = intake.position;
  }

  /** The record that is being read, for messages: the banner is number 0, offsets count from the stream's first byte. */
  get place(): string {
    const what = this.#record === 0 ? 'the banner' : `record ${this.#record}`;
    return `${this.#label}${what} at byte ${this.#start}`;
  }

  *read(): Reading<void> {
    const banner = (yield* this.#take(BANNER_BYTES)).toString('latin1');
    const version = ([1, 2] as const).find((candidate) => BANNERS[candidate] === banner);
    if (version === undefined) throw this.#wrong('this is no stream of rbd export-diff');
    this.#version = version;
    const intake = this.#intake;
    for (;;) {
      this.#record++;
      this.#start = intake.position;
      let tag: Buffer | undefined;
      while ((tag = intake.take(1)) === undefined) yield;
      const kind = String.fromCharCode(tag.readUInt8());
      if (kind === 'w' || kind === 'z') {
        // Most records come this way: without a generator of their own they are read several times as fast.
        this.#begin();
        let fields: Buffer | undefined;
        while ((fields = intake.take(version === 1 ? 16 : 24)) === undefined) yield;
        const { offset, length } = this.#extent(fields, kind);
        for (let done = 0; kind === 'w' && done < length;) {
          const bytes = intake.some(length - done);
          if (bytes === undefined) {
            yield;
            continue;
          }
          this.#handler.data(offset + done, bytes);
          done += bytes.length;
        }
      } else if (kind === 'e') {
        this.#begin();
        this.#handler.end();
        return;
      } else {
        yield* this.#field(kind);
      }
    }
  }

  *#field(tag: string): Reading<void> {
    switch (tag) {
      case 'f':
        return this.#set('fromSnap', yield* this.#name());
      case 't':
        return this.#set('toSnap', yield* this.#name());
      case 'p':
        return this.#set('protected', yield* this.#protected());
      case 's':
        return this.#set('bytes', yield* this.#bytes());
      default:
        throw this.#wrong(`unknown record ${JSON.stringify(tag)}`);
    }
  }

  *#take(length: number): Reading<Buffer> {
    let bytes: Buffer | undefined;
    while ((bytes = this.#intake.take(length)) === undefined) yield;
    return bytes;
  }

  /** Version 2 tells each record's length, which must agree with what the record itself needs. */
  *#length(): Reading<number | undefined> {
    if (this.#version === 1) return undefined;
    const length = readU64(yield* this.#take(8), 0);
    if (length === undefined) throw this.#wrong('a record length beyond 2^53');
    return length;
  }

  #agree(told: number | undefined, needed: number): void {
    if (told !== undefined && told !== needed)
      throw this.#wrong(`the record says that it has ${told} bytes, it needs ${needed}`);
  }

  *#name(): Reading<string> {
    const told = yield* this.#length();
    const length = (yield* this.#take(4)).readUInt32LE();
    this.#agree(told, 4 + length);
    if (length === 0 || length > MAX_NAME_BYTES) throw this.#wrong(`the name of a snap of ${length} bytes`);
    const bytes = yield* this.#take(length);
    try {
      return names.decode(bytes);
    } catch {
      throw this.#wrong('the name of a snap is not UTF-8');
    }
  }

  *#protected(): Reading<boolean> {
    const told = yield* this.#length();
    if (told === undefined) throw this.#wrong('a record of version 2 in a stream of version 1');
    if (!PROTECTED_LENGTHS.includes(told)) this.#agree(told, 1);
    const value = (yield* this.#take(1)).readUInt8();
    if (value > 1) throw this.#wrong(`a snap is protected (1) or not (0), not ${value}`);
    return value === 1;
  }

  *#bytes(): Reading<number> {
    this.#agree(yield* this.#length(), 8);
    const bytes = readU64(yield* this.#take(8), 0);
    if (bytes === undefined) throw this.#wrong('an image size beyond 2^53');
    return bytes;
  }

  #set<K extends keyof DiffHeader>(field: K, value: DiffHeader[K]): void {
    if (this.#order !== undefined) throw this.#wrong('it comes after the first extent');
    if (this.#header[field] !== undefined) throw this.#wrong('it comes twice');
    this.#header[field] = value;
  }

  /** Tells the handler of the header once, when the first record after it comes. */
  #begin(): ExtentOrder {
    if (this.#order !== undefined) return this.#order;
    const { bytes, ...rest } = this.#header;
    if (bytes === undefined) throw this.#wrong('no size of the image came before it');
    if (rest.protected !== undefined && rest.toSnap === undefined)
      throw this.#wrong('the protection of a snap came without the snap');
    this.#handler.begin({ ...rest, version: this.#version, bytes });
    return (this.#order = new ExtentOrder(bytes));
  }

  /** Checks the fields of an extent and tells the handler of it. */
  #extent(fields: Buffer, kind: 'w' | 'z'): { offset: number; length: number } {
    const at = fields.length - 16;
    const [offset, length] = [readU64(fields, at), readU64(fields, at + 8)];
    const wrong = this.#begin().check(offset, length);
    if (wrong !== undefined || offset === undefined || length === undefined) throw this.#wrong(wrong ?? '');
    if (at > 0) this.#agree(readU64(fields, 0) ?? Infinity, kind === 'w' ? 16 + length : 16);
    if (kind === 'w') this.#handler.write(offset, length);
    else this.#handler.zero(offset, length);
    return { offset, length };
  }

  #wrong(cause: string): Error {
    return badRecord(this.place, cause);
  }
}
