import type { Readable } from 'node:stream';
import { DatamoverError } from '../errors.ts';
import { exit, prepareExit } from '../process/exit.ts';
import { followLease } from '../process/lease-line.ts';

/** What a stopped job says: what it was doing, and how to take it up again. */
export interface Resumption {
  readonly operation: string;
  readonly subject?: string;
  readonly hint: string;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const EXIT_CODE = 130;
const PARENT_CHECK_MS = 500;
const ORPHAN_GRACE_MS = 15_000;

/**
 * Turns the first Ctrl-C (or SIGTERM, SIGHUP) into an abort: the job puts things in order and ends with exit code 130. The
 * second one ends the process at once, by SIGINT, which shells show as 130, too; the repository survives that, it is only less tidy.
 */
export class Interrupt {
  readonly #controller = new AbortController();
  #over = false;
  #resumption: Resumption = { operation: 'run', hint: 'run the same command again' };

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Tells what a stop would interrupt from now on. */
  describe(resumption: Resumption): void {
    this.#resumption = resumption;
  }

  listen(notice: (text: string) => void): void {
    for (const name of SIGNALS) {
      process.on(name, () => {
        if (this.#over || this.signal.aborted) endBySignal();
        else this.#stop(name, notice);
      });
    }
  }

  /**
   * Stops the job as a signal would when the process that started it is gone: nobody is left to hear of it. `parent` is its number as it
   * told it: it may be gone before we have begun, and then our parent is another.
   */
  followParent(parent: number, notice: (text: string) => void): void {
    const watch = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(watch);
      this.#stop('the end of the process that started it', notice);
      // Nobody is left to end it by force, and another one may begin the same transfer when a lease has run out.
      setTimeout(endAtOnce, ORPHAN_GRACE_MS).unref();
    }, PARENT_CHECK_MS).unref();
  }

  /**
   * The same when the lease runs out under which the agent carries the transfer: an agent that stands still can neither renew it nor
   * stop anybody, and another one may begin the transfer then.
   */
  followLease(told: Readable, first: string, notice: (text: string) => void): void {
    const stop = (): void => this.#stop('the end of the lease under which it is carried', notice);
    followLease(told, first, stop, endAtOnce);
  }

  #stop(by: string, notice: (text: string) => void): void {
    const { operation, subject, hint } = this.#resumption;
    this.#controller.abort(
      new DatamoverError({
        operation,
        ...(subject === undefined ? {} : { subject }),
        cause: `stopped by ${by}`,
        hint,
        kind: 'cancelled',
      }),
    );
    notice('stopping and putting things in order (once more to stop at once)');
  }

  /** The job has its end: whoever waits for nothing but the reader of what was said is ended by the first signal. */
  over(): void {
    this.#over = true;
  }

  /** The error to report: after a stop whatever was thrown is only the stop's echo. */
  explain(error: unknown): unknown {
    return this.signal.aborted ? this.signal.reason : error;
  }
}

/** What is said at once is written by now. */
function endBySignal(): void {
  prepareExit(EXIT_CODE);
  process.removeAllListeners('SIGINT');
  process.kill(process.pid, 'SIGINT');
  // The first process of a container is ended by no signal of its own.
  exit(EXIT_CODE);
}

/** Whatever this process is in the middle of. */
function endAtOnce(): void {
  process.kill(process.pid, 'SIGKILL');
}
