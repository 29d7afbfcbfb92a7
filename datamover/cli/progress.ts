import type { Output } from './output.ts';

/** What a job says of itself at one moment: for people in parts, the most telling first, and for programs. */
export interface Status {
  readonly parts: readonly string[];
  readonly record: Readonly<Record<string, unknown>>;
}

/** Milliseconds between two reports: a terminal line moves, a log line comes every few seconds, a script gets one a second. */
const TERMINAL_MS = 200;
const LOG_MS = 5000;
const JSON_MS = 1000;
const CLEAR_LINE = '\r\u001b[K';

/**
 * Shows how a job gets on, as fits the reader: one line that moves on a terminal, a line every few seconds into a log, JSON
 * lines for a script, nothing with -q. Statuses are built only when one is due, so a job may report as often as it likes.
 */
export class Reporter {
  readonly #output: Output;
  readonly #mode: 'terminal' | 'log' | 'json' | 'silent';
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #started = performance.now();
  #latest: ((seconds: number) => Status) | undefined;
  #lineShown = false;
  /** Whether the job has said something since the last report, of which there was one. */
  #behind = false;
  #reported = false;

  constructor(output: Output, fps: number | undefined = progressFps(process.env)) {
    this.#output = output;
    this.#mode =
      output.verbosity === 0
        ? 'silent'
        : output.json
          ? 'json'
          : output.errors.isTTY === true
            ? 'terminal'
            : 'log';
    if (this.#mode === 'silent') return;
    const usual = { terminal: TERMINAL_MS, log: LOG_MS, json: JSON_MS }[this.#mode];
    // The timer, not the job, sets the pace: clock and estimate move on while the job waits for a slow store.
    this.#timer = setInterval(() => this.#report(), fps === undefined ? usual : 1000 / fps).unref();
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Remembers how to describe the job now; `describe` gets the seconds since the start. */
  update(describe: (seconds: number) => Status): void {
    const first = this.#latest === undefined;
    this.#latest = describe;
    this.#behind = true;
    if (first && this.#mode === 'terminal') this.#report();
  }

  /** Ends the reports and leaves a clean line for the summary. A script that follows them sees the last one, too. */
  stop(): void {
    clearInterval(this.#timer);
    if (this.#mode === 'json' && this.#reported && this.#behind) this.#report();
    if (this.#lineShown) this.#output.errors.write(CLEAR_LINE);
    this.#lineShown = false;
  }

  #report(): void {
    const status = this.#latest?.(this.seconds);
    if (status === undefined) return;
    this.#behind = false;
    this.#reported = true;
    if (this.#mode === 'json') {
      this.#output.record({ message_type: 'status', ...status.record });
    } else if (this.#mode === 'terminal') {
      const width = (this.#output.errors.columns ?? 80) - 1;
      this.#output.errors.write(CLEAR_LINE + fit(status.parts, width));
      this.#lineShown = true;
    } else {
      this.#output.errors.write(`${status.parts.join('  ')}\n`);
    }
  }
}

/** As many parts as the width allows, from the first on. */
export function fit(parts: readonly string[], width: number): string {
  let line = '';
  for (const part of parts) {
    const longer = line === '' ? part : `${line}  ${part}`;
    if (longer.length > width) break;
    line = longer;
  }
  return line === '' ? (parts[0] ?? '').slice(0, width) : line;
}

/** RESTIC_PROGRESS_FPS: reports a second, also fractions (`0.1` is one in ten seconds). */
export function progressFps(env: NodeJS.ProcessEnv): number | undefined {
  const fps = Number(env['RESTIC_PROGRESS_FPS']);
  return Number.isFinite(fps) && fps > 0 ? Math.min(fps, 60) : undefined;
}

/** Bytes a second over the last ten seconds: quick enough to show a stall, calm enough for an estimate. */
export class RateMeter {
  readonly #samples: { readonly seconds: number; readonly bytes: number }[] = [{ seconds: 0, bytes: 0 }];

  /** Notes the bytes done after so many seconds, answers with the rate now. */
  measure(seconds: number, bytes: number): number {
    this.#samples.push({ seconds, bytes });
    while (this.#samples.length > 2 && seconds - (this.#samples[1]?.seconds ?? seconds) > 10)
      this.#samples.shift();
    const oldest = this.#samples[0];
    const span = seconds - (oldest?.seconds ?? seconds);
    return span <= 0 ? 0 : Math.max(0, bytes - (oldest?.bytes ?? 0)) / span;
  }
}
