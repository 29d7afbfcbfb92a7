import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

const TELL_MS = 1_000;
const CHECK_MS = 250;
const NS_PER_MS = 1e6;

/** What is left of a lease, and of its end those milliseconds that whoever works under it is given to end by himself. */
export interface LeaseTerm {
  readonly remainingMs: number;
  readonly reserveMs: number;
}

/**
 * Tells a child by its stdin, once a second, until when it may work: two times of the machine's steady clock, which both processes
 * read alike, so that a line that lies in the pipe grows old. By the first the child begins to end, at the second it is gone. Whoever
 * tells ends a child sooner; the lines are for when he cannot. Gives what ends it.
 */
export function tellLease(child: Writable, term: () => LeaseTerm): () => void {
  const tell = (): void => {
    const { remainingMs, reserveMs } = term();
    const until = (ms: number): bigint =>
      process.hrtime.bigint() + BigInt(Math.round(Math.max(0, ms) * NS_PER_MS));
    child.write(`${until(remainingMs - reserveMs / 2)} ${until(remainingMs - reserveMs / 10)}\n`);
  };
  tell();
  const telling = setInterval(tell, TELL_MS).unref();
  return () => {
    clearInterval(telling);
    child.end();
  };
}

/** The child's side. `onStop` is called once, `onEnd` when the time is over. */
export function followLease(told: Readable, onStop: () => void, onEnd: () => void): void {
  let times: readonly bigint[] = [];
  let stopped = false;
  createInterface({ input: told }).on('line', (line) => {
    if (/^\d+ \d+$/.test(line)) times = line.split(' ').map(BigInt);
  });
  const checking = setInterval(() => {
    const [stop, end] = times;
    const now = process.hrtime.bigint();
    if (stop === undefined || end === undefined || now < stop) return;
    if (!stopped) onStop();
    stopped = true;
    if (now < end) return;
    clearInterval(checking);
    onEnd();
  }, CHECK_MS).unref();
}
