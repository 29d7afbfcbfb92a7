import { DatamoverError } from '../../errors.ts';
import { DiffEncoder, type Emit } from './diff-encoder.ts';
import { writeU64, type DiffHandler, type DiffHeader } from './diff-format.ts';
import {
  chainFault,
  DIFFS_BANNER,
  IMAGE_BANNER,
  type ImageHandler,
  type ImageHeader,
} from './image-format.ts';

/** Writes what `rbd import --export-format 2` reads. Throws when the calls do not make an image. */
export class ImageEncoder implements ImageHandler {
  readonly #emit: Emit;
  #diffs = 0;
  #begun = 0;
  #done = 0;
  #base: string | undefined;

  constructor(emit: Emit) {
    this.#emit = emit;
  }

  begin(header: ImageHeader): void {
    if (this.#diffs > 0) throw wrong('a second header');
    if (header.diffs < 1) throw wrong('no diff, not even of the head');
    const parts: Buffer[] = [Buffer.from(IMAGE_BANNER, 'latin1')];
    const numbers = { O: header.order, T: header.features, U: header.stripeUnit, C: header.stripeCount };
    for (const [tag, value] of Object.entries(numbers)) {
      if (value !== undefined) parts.push(record(tag, u64(value)));
    }
    for (const [key, value] of header.metadata)
      parts.push(record('M', Buffer.concat([text(key), text(value)])));
    parts.push(Buffer.from(`E${DIFFS_BANNER}`, 'latin1'), u64(header.diffs));
    this.#diffs = header.diffs;
    this.#emit(Buffer.concat(parts));
  }

  diff(index: number): DiffHandler {
    if (index !== this.#begun || index !== this.#done || index >= this.#diffs)
      throw wrong(`diff ${index + 1} when ${this.#done} of ${this.#diffs} are written`);
    this.#begun++;
    return new ChainLink(
      this.#emit,
      (header) => {
        const fault = chainFault(header, this.#base, index === this.#diffs - 1);
        if (fault !== undefined) throw wrong(fault);
        this.#base = header.toSnap;
      },
      () => this.#done++,
    );
  }

  end(): void {
    if (this.#diffs === 0 || this.#done < this.#diffs)
      throw wrong(`only ${this.#done} of ${this.#diffs} diffs are written`);
  }
}

/** One diff of the chain: checked where it begins, counted where it ends. */
class ChainLink extends DiffEncoder {
  readonly #check: (header: DiffHeader) => void;
  readonly #ended: () => void;

  constructor(emit: Emit, check: (header: DiffHeader) => void, ended: () => void) {
    super(emit);
    this.#check = check;
    this.#ended = ended;
  }

  override begin(header: DiffHeader): void {
    this.#check(header);
    super.begin(header);
  }

  override end(): void {
    super.end();
    this.#ended();
  }
}

function record(tag: string, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from(tag, 'latin1'), u64(data.length), data]);
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  writeU64(bytes, value, 0);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function wrong(cause: string): DatamoverError {
  return new DatamoverError({ operation: 'write rbd image', cause });
}
