import { isErrno } from '../errors.ts';

/** Where lines go. A terminal knows how wide it is. */
export interface Stream {
  write(text: string | Uint8Array): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface OutputOptions {
  readonly json: boolean;
  /** 0: errors and asked-for data only (-q), 1: as usual, 2 and 3: -v and -vv. */
  readonly verbosity: number;
}

/**
 * What the user sees. Results go to standard output, notes and progress to standard error, so that a pipe or a script gets
 * results alone. With `--json` results are JSON and every human line is dropped.
 */
export class Output {
  readonly json: boolean;
  readonly verbosity: number;
  readonly errors: Stream;
  #results: Stream;

  constructor(options: OutputOptions, results: Stream = process.stdout, errors: Stream = process.stderr) {
    this.json = options.json;
    this.verbosity = options.verbosity;
    this.#results = results;
    this.errors = errors;
  }

  get results(): Stream {
    return this.#results;
  }

  /** From now on results go to standard error: standard output carries the volume itself (`restore --to -`). */
  divertResults(): void {
    this.#results = this.errors;
  }

  /** What the verb was asked for: printed even with -q, not with --json. */
  data(...lines: readonly string[]): void {
    if (!this.json) for (const line of lines) this.#results.write(`${visible(line)}\n`);
  }

  /** A summary or another pleasantry: dropped with -q and --json. */
  say(...lines: readonly string[]): void {
    if (this.verbosity > 0) this.data(...lines);
  }

  /** For who asked with -v. */
  detail(...lines: readonly string[]): void {
    if (this.verbosity > 1) this.data(...lines);
  }

  /** On the error channel: what the reader should know though nothing failed. Dropped with -q. */
  note(text: string): void {
    if (this.verbosity === 0) return;
    // On a terminal a progress line may be there: the note takes its place, and it comes back below.
    const shown = visible(text);
    const line = this.errors.isTTY === true ? `\r\u001b[K${shown}` : shown;
    this.errors.write(`${this.json ? JSON.stringify({ message_type: 'note', message: text }) : line}\n`);
  }

  /** One JSON value in one line; nothing without --json. */
  record(value: unknown): void {
    if (this.json) this.#results.write(`${JSON.stringify(value)}\n`);
  }
}

/** Names come out of streams and repositories: what would steer the reader's terminal is shown as what it is. */
export function visible(text: string): string {
  return text.replaceAll(/(?![\n\t])\p{Cc}/gu, (control) => {
    const code = control.codePointAt(0) ?? 0;
    return `\\x${code.toString(16).padStart(2, '0')}`;
  });
}

/**
 * A reader that went away (`datamover snapshots | head -1`) is not a failure of the job: what is written later is dropped and
 * the exit code stays that of the work itself.
 */
export function tolerateClosedPipe(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: unknown) => {
    if (!isErrno(error, 'EPIPE')) throw error;
  });
}
