import { badRecord, readU64, type DiffHandler, type DiffHeader } from './diff-format.ts';
import { DiffReader, type Reading } from './diff-reader.ts';
import { PushedStream } from './diff-stream.ts';
import {
  chainFault,
  DIFFS_BANNER,
  IMAGE_BANNER,
  MAX_METADATA_BYTES,
  ORDERS,
  type ImageHandler,
  type ImageHeader,
} from './image-format.ts';
import { Intake } from './intake.ts';

const NUMBERS = { O: 'order', T: 'features', U: 'stripeUnit', C: 'stripeCount' } as const;

const texts = new TextDecoder('utf-8', { fatal: true });

/** Reads what `rbd export --export-format 2` writes (image-format.ts), as strictly as `DiffStream` reads diffs. */
export class ImageStream extends PushedStream {
  constructor(handler: ImageHandler) {
    const intake = new Intake();
    const reader = new ImageReader(intake, handler);
    super(intake, reader.read(), () => reader.place);
  }
}

class ImageReader {
  readonly #intake: Intake;
  readonly #handler: ImageHandler;
  #what = 'the banner';
  #start = 0;
  #diff: DiffReader | undefined;

  constructor(intake: Intake, handler: ImageHandler) {
    this.#intake = intake;
    this.#handler = handler;
  }

  get place(): string {
    return this.#diff?.place ?? `${this.#what} at byte ${this.#start}`;
  }

  *read(): Reading<void> {
    if ((yield* this.#take(IMAGE_BANNER.length)).toString('latin1') !== IMAGE_BANNER)
      throw this.#wrong('this is no stream of rbd export --export-format 2');
    const header = yield* this.#header();
    this.#handler.begin(header);
    let base: string | undefined;
    for (let index = 0; index < header.diffs; index++) {
      const last = index === header.diffs - 1;
      const chained = new ChainedDiff(this.#handler.diff(index), (diff) => {
        const wrong = chainFault(diff, base, last);
        if (wrong !== undefined) throw this.#wrong(wrong);
        base = diff.toSnap;
      });
      this.#diff = new DiffReader(this.#intake, chained, `diff ${index + 1} of ${header.diffs}, `);
      yield* this.#diff.read();
    }
    this.#handler.end();
  }

  *#header(): Reading<ImageHeader> {
    const found: { order?: number; features?: number; stripeUnit?: number; stripeCount?: number } = {};
    const metadata = new Map<string, string>();
    for (let record = 1; ; record++) {
      this.#at(`record ${record} of the image`);
      const tag = String.fromCharCode((yield* this.#take(1)).readUInt8());
      if (tag === 'E') break;
      if (!isNumberTag(tag) && tag !== 'M') throw this.#wrong(`unknown record ${JSON.stringify(tag)}`);
      const length = yield* this.#u64();
      if (tag === 'M') {
        const [key, value] = this.#pair(yield* this.#metadata(length));
        if (metadata.has(key)) throw this.#wrong(`the key ${JSON.stringify(key)} comes twice`);
        metadata.set(key, value);
      } else {
        if (length !== 8) throw this.#wrong(`the record says that it has ${length} bytes, it needs 8`);
        if (found[NUMBERS[tag]] !== undefined) throw this.#wrong('it comes twice');
        found[NUMBERS[tag]] = yield* this.#u64();
      }
    }
    const { order, features, ...striping } = found;
    if (order === undefined || features === undefined)
      throw this.#wrong('the order or the features of the image are missing');
    if (order < ORDERS.least || order > ORDERS.most) throw this.#wrong(`an image of order ${order}`);
    this.#at('the banner of the diffs');
    if ((yield* this.#take(DIFFS_BANNER.length)).toString('latin1') !== DIFFS_BANNER)
      throw this.#wrong('the diffs of the image do not follow');
    this.#at('the number of diffs');
    const diffs = yield* this.#u64();
    if (diffs === 0) throw this.#wrong('no diff, not even of the head');
    return { order, features, ...striping, metadata, diffs };
  }

  *#metadata(length: number): Reading<Buffer> {
    if (length < 8 || length > MAX_METADATA_BYTES) throw this.#wrong(`image-meta of ${length} bytes`);
    return yield* this.#take(length);
  }

  #pair(bytes: Buffer): [string, string] {
    const keyEnd = 4 + bytes.readUInt32LE(0);
    if (keyEnd + 4 > bytes.length || keyEnd + 4 + bytes.readUInt32LE(keyEnd) !== bytes.length)
      throw this.#wrong('the lengths of an image-meta key and value do not fill the record');
    try {
      return [texts.decode(bytes.subarray(4, keyEnd)), texts.decode(bytes.subarray(keyEnd + 4))];
    } catch {
      throw this.#wrong('image-meta that is not UTF-8');
    }
  }

  *#u64(): Reading<number> {
    const value = readU64(yield* this.#take(8), 0);
    if (value === undefined) throw this.#wrong('a number beyond 2^53');
    return value;
  }

  *#take(length: number): Reading<Buffer> {
    let bytes: Buffer | undefined;
    while ((bytes = this.#intake.take(length)) === undefined) yield;
    return bytes;
  }

  #at(what: string): void {
    this.#what = what;
    this.#start = this.#intake.position;
  }

  #wrong(cause: string): Error {
    return badRecord(this.place, cause);
  }
}

/** Shows each diff's header to `check` before its handler sees it. */
class ChainedDiff implements DiffHandler {
  readonly #handler: DiffHandler;
  readonly #check: (header: DiffHeader) => void;

  constructor(handler: DiffHandler, check: (header: DiffHeader) => void) {
    this.#handler = handler;
    this.#check = check;
  }

  begin(header: DiffHeader): void {
    this.#check(header);
    this.#handler.begin(header);
  }

  write(offset: number, length: number): void {
    this.#handler.write(offset, length);
  }

  data(offset: number, bytes: Uint8Array): void {
    this.#handler.data(offset, bytes);
  }

  zero(offset: number, length: number): void {
    this.#handler.zero(offset, length);
  }

  end(): void {
    this.#handler.end();
  }
}

function isNumberTag(tag: string): tag is keyof typeof NUMBERS {
  return tag in NUMBERS;
}
