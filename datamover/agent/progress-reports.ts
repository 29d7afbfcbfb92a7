import { progressStatus } from './outcome.ts';
import { NotOurs, type StatusWriter } from './status-writer.ts';
import type { TransferProgress } from './transfer-process.ts';

/** Writes progress at most once in an interval (K-23), one write at a time; what comes in between is told by the next one. */
export class ProgressReports {
  readonly #writer: StatusWriter;
  readonly #intervalMs: number;
  readonly #onFailure: (error: unknown) => void;
  readonly #stop = new AbortController();
  #latest: TransferProgress | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #nextAt = 0;

  /** `onFailure` also hears that the transfer is another one's (NotOurs). */
  constructor(writer: StatusWriter, intervalMs: number, onFailure: (error: unknown) => void) {
    this.#writer = writer;
    this.#intervalMs = intervalMs;
    this.#onFailure = onFailure;
  }

  update(progress: TransferProgress): void {
    this.#latest = progress;
    this.#schedule();
  }

  /** No write is under way when it resolves, and none comes after it. */
  async end(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#writing;
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#writing !== undefined || this.#stop.signal.aborted) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#writing = this.#write().finally(() => {
          this.#writing = undefined;
          if (this.#latest !== undefined) this.#schedule();
        });
      },
      Math.max(0, this.#nextAt - performance.now()),
    );
  }

  async #write(): Promise<void> {
    const progress = this.#latest;
    this.#latest = undefined;
    this.#nextAt = performance.now() + this.#intervalMs;
    if (progress === undefined) return;
    try {
      await this.#writer.write(progressStatus(progress), this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted || error instanceof NotOurs) this.#onFailure(error);
    }
  }
}
