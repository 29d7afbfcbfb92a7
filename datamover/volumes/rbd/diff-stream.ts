import { badRecord, type DiffHandler } from './diff-format.ts';
import { DiffReader, type Reading } from './diff-reader.ts';
import { Intake } from './intake.ts';

const CUT_OFF = 'the program that wrote the stream was stopped or failed: make it again';

/** A stream that is read as it comes: chunks of any size in, calls of a handler out. Knows nothing of what it reads. */
export class PushedStream {
  readonly #intake: Intake;
  readonly #reading: Reading<void>;
  readonly #place: () => string;
  #state: 'reading' | 'complete' | 'failed' = 'reading';
  #failure: unknown;

  constructor(intake: Intake, reading: Reading<void>, place: () => string) {
    this.#intake = intake;
    this.#reading = reading;
    this.#place = place;
  }

  /** Throws what is wrong with the stream, or what the handler throws; then it is of no use any more. */
  push(chunk: Uint8Array): void {
    if (this.#state === 'failed') throw this.#failure;
    if (chunk.length === 0) return;
    this.#intake.load(chunk);
    try {
      if (this.#state === 'reading' && this.#reading.next().done === true) this.#state = 'complete';
      if (this.#state === 'complete' && this.#intake.some(1) !== undefined)
        throw badRecord(`byte ${this.#intake.position - 1}`, 'data follows the end of the stream');
    } catch (error) {
      this.#state = 'failed';
      this.#failure = error;
      throw error;
    }
  }

  /** To be called when no more chunks come. Throws if the stream is not complete. */
  end(): void {
    if (this.#state === 'failed') throw this.#failure;
    if (this.#state === 'complete') return;
    const bytes = this.#intake.position;
    const cause = bytes === 0 ? 'the stream is empty' : `the stream ends in it, after ${bytes} bytes`;
    throw badRecord(this.#place(), cause, CUT_OFF);
  }
}

/**
 * Reads one stream of `rbd export-diff`, version 1 or 2. Payloads are handed on as views of the pushed chunks, never copied.
 * Everything that Ceph does not write is refused with the record's number, its offset in the stream and the cause: unknown
 * records, extents that overlap, descend or leave the image, a header that is incomplete or comes late, bytes after the end.
 */
export class DiffStream extends PushedStream {
  constructor(handler: DiffHandler) {
    const intake = new Intake();
    const reader = new DiffReader(intake, handler);
    super(intake, reader.read(), () => reader.place);
  }
}
