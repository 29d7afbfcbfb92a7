import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

const TELL_MS = 1_000;
const CHECK_MS = 250;
const NS_PER_MS = 1e6;
const LATE_NS = 1_000_000_000n;

/** What is left of a lease, and of its end those milliseconds that whoever works under it is given to end by himself. */
export interface LeaseTerm {
  readonly remainingMs: number;
  readonly reserveMs: number;
}

/**
 * Two times of the machine's steady clock, in ns: when a child begins to end, and when it is gone. What it has started, which ends within
 * four seconds of it (volumes/rbd/session-main.ts), is gone before a lease of 30 s is over.
 */
export function leaseTimes({ remainingMs, reserveMs }: LeaseTerm): string {
  const until = (ms: number): bigint =>
    process.hrtime.bigint() + BigInt(Math.round(Math.max(0, ms) * NS_PER_MS));
  return `${until(remainingMs - reserveMs * 0.8)} ${until(remainingMs - reserveMs * 0.45)}`;
}

/**
 * Tells a child by its stdin, once a second, until when it may work (`leaseTimes`): both processes read the clock alike, so that a
 * line that lies in the pipe grows old. Whoever tells ends a child sooner; the lines are for when he cannot. Gives what ends it.
 */
export function tellLease(child: Writable, term: () => LeaseTerm): () => void {
  const tell = (): void => void child.write(`${leaseTimes(term())}\n`);
  tell();
  const telling = setInterval(tell, TELL_MS).unref();
  return () => {
    clearInterval(telling);
    child.end();
  };
}

/** The child's side. `first` are the times until a line comes. `onStop` is called once, `onEnd` when the time is over. */
export function followLease(told: Readable, first: string, onStop: () => void, onEnd: () => void): void {
  let times: readonly bigint[] = [];
  let stopped = false;
  const hear = (line: string): void => {
    if (/^\d+ \d+$/.test(line)) times = line.split(' ').map(BigInt);
  };
  hear(first);
  createInterface({ input: told }).on('line', hear);
  let checked = process.hrtime.bigint();
  const checking = setInterval(() => {
    const [stop, end] = times;
    const now = process.hrtime.bigint();
    // After we stood still there are lines in the pipe that nobody has read yet.
    const late = now - checked > LATE_NS;
    checked = now;
    if (late) return;
    if (stop === undefined || end === undefined || now < stop) return;
    if (!stopped) onStop();
    stopped = true;
    if (now < end) return;
    clearInterval(checking);
    onEnd();
  }, CHECK_MS).unref();
}
