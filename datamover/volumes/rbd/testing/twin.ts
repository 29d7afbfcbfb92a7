import type { DiffHandler, DiffHeader } from '../diff-format.ts';

/** A plain image in memory that diffs are applied to: the plainest reading of what a diff means. */
export class Twin implements DiffHandler {
  bytes: Buffer = Buffer.alloc(0);
  header: DiffHeader | undefined;
  ended = false;
  /** Bytes of the extents of the last diff. */
  written = 0;
  zeroed = 0;

  begin(header: DiffHeader): void {
    this.header = header;
    this.ended = false;
    this.written = this.zeroed = 0;
    if (this.bytes.length === header.bytes) return;
    const resized = Buffer.alloc(header.bytes);
    this.bytes.copy(resized);
    this.bytes = resized;
  }

  write(_offset: number, length: number): void {
    this.written += length;
  }

  data(offset: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, offset);
  }

  zero(offset: number, length: number): void {
    this.zeroed += length;
    this.bytes.fill(0, offset, offset + length);
  }

  end(): void {
    this.ended = true;
  }
}

/** Tells two handlers, and what comes after the end. */
export class Both implements DiffHandler {
  readonly #one: DiffHandler;
  readonly #other: DiffHandler;
  readonly #ended: (() => void) | undefined;

  constructor(one: DiffHandler, other: DiffHandler, ended?: () => void) {
    this.#one = one;
    this.#other = other;
    this.#ended = ended;
  }

  begin(header: DiffHeader): void {
    this.#one.begin(header);
    this.#other.begin(header);
  }

  write(offset: number, length: number): void {
    this.#one.write(offset, length);
    this.#other.write(offset, length);
  }

  data(offset: number, bytes: Uint8Array): void {
    this.#one.data(offset, bytes);
    this.#other.data(offset, bytes);
  }

  zero(offset: number, length: number): void {
    this.#one.zero(offset, length);
    this.#other.zero(offset, length);
  }

  end(): void {
    this.#one.end();
    this.#other.end();
    this.#ended?.();
  }
}
