import type { Progress } from './progress.ts';
import type { NumberedStream } from './stream-choice.ts';

/**
 * Each stream that is read takes memory of its own beside what all share: a record that waits for its turn, and twice as much as
 * its sender's usual 128 KiB to put it together (docs/adr/0016).
 */
const STREAMS_AT_ONCE = 24;
/** Records of -L have a MiB or more. */
const LARGE_STREAMS_AT_ONCE = 16;

/**
 * Which streams of a chain are merged at once: the first ones into a full one, that one and the next into another, until all are
 * in. Of later rounds only the streams of the chain are named.
 */
export function planRounds(
  streams: readonly NumberedStream[],
  atOnce = streams.some(({ zfs }) => zfs.features.includes('large-blocks'))
    ? LARGE_STREAMS_AT_ONCE
    : STREAMS_AT_ONCE,
): readonly (readonly NumberedStream[])[] {
  if (!Number.isInteger(atOnce) || atOnce < 2)
    throw new RangeError(`a merge reads at least two streams at once, not ${atOnce}`);
  const rounds = [streams.slice(0, atOnce)];
  for (let from = atOnce; from < streams.length; from += atOnce - 1)
    rounds.push(streams.slice(from, from + atOnce - 1));
  return rounds;
}

type Amounts = Pick<
  Progress,
  'readBytes' | 'newBytes' | 'deduplicatedBytes' | 'zeroBytes' | 'storedBytes' | 'seconds'
>;

/**
 * The progress of all rounds as one: it counts what is read, and what a round has made is read again by the next. How much that will
 * be is not known before: it is taken to be as long as the full stream that the chain begins with, until it is there.
 */
export class RoundsProgress {
  readonly #report: (progress: Progress) => void;
  readonly #chainBytes: number;
  readonly #rounds: number;
  /** Of the streams that rounds have made. */
  #madeBytes = 0;
  #lastMade: number;
  #made = 0;
  #read = 0;
  /** What the rounds before have stored, and what was last told of the one that runs. */
  #before: Amounts | undefined;
  #latest: Amounts | undefined;

  constructor(rounds: readonly (readonly NumberedStream[])[], report: (progress: Progress) => void) {
    const streams = rounds.flat();
    this.#report = report;
    this.#chainBytes = streams.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#rounds = rounds.length;
    this.#lastMade = streams[0]?.bytes ?? 0;
  }

  /** The chunks of a stream as they are read. */
  async *counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.#read += chunk.length;
      yield chunk;
    }
  }

  /** Of the round that runs. */
  readonly update = (progress: Progress): void => {
    const before = this.#before;
    const last = this.#made === this.#rounds - 1;
    this.#latest = {
      readBytes: this.#read,
      newBytes: (before?.newBytes ?? 0) + progress.newBytes,
      deduplicatedBytes: (before?.deduplicatedBytes ?? 0) + progress.deduplicatedBytes,
      zeroBytes: (before?.zeroBytes ?? 0) + progress.zeroBytes,
      storedBytes: (before?.storedBytes ?? 0) + progress.storedBytes,
      seconds: progress.seconds,
    };
    this.#report({
      ...this.#latest,
      phase: last ? progress.phase : 'transferring',
      totalBytes: Math.max(this.#read, this.#total()),
      doneBytes: this.#read,
    });
  };

  /** A round has ended with a stream of so many bytes. */
  roundMade(bytes: number): void {
    this.#made++;
    this.#madeBytes += bytes;
    this.#lastMade = bytes;
    this.#before = this.#latest;
  }

  #total(): number {
    const toBeMade = Math.max(0, this.#rounds - 1 - this.#made);
    return this.#chainBytes + this.#madeBytes + toBeMade * this.#lastMade;
  }
}
