import { PROGRESS_INTERVAL_MS, type Progress } from './progress.ts';

export interface RestoreSummary {
  readonly bytesRestored: number;
  readonly bytesWritten: number;
  /** Zeros that became holes. */
  readonly bytesSkippedZero: number;
  readonly verified: boolean;
  readonly seconds: number;
}

/** Counts what a restore has done, and reports it now and then. */
export class Tally {
  readonly #started = performance.now();
  readonly #totalBytes: number;
  readonly #timer: NodeJS.Timeout | undefined;
  #written = 0;
  #skipped = 0;
  #zero = 0;
  #verified: number | undefined;

  constructor(totalBytes: number, onProgress?: (progress: Progress) => void) {
    this.#totalBytes = totalBytes;
    if (onProgress) this.#timer = setInterval(() => onProgress(this.#progress()), PROGRESS_INTERVAL_MS);
  }

  wrote(bytes: number): void {
    this.#written += bytes;
  }

  zero(bytes: number, skipped: boolean): void {
    this.#zero += bytes;
    if (skipped) this.#skipped += bytes;
    else this.#written += bytes;
  }

  /** So many more bytes were read back. */
  verified(bytes: number): void {
    this.#verified = (this.#verified ?? 0) + bytes;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  summary(verified: boolean): RestoreSummary {
    return {
      bytesRestored: this.#written + this.#skipped,
      bytesWritten: this.#written,
      bytesSkippedZero: this.#skipped,
      verified,
      seconds: this.#seconds,
    };
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  #progress(): Progress {
    return {
      phase: this.#verified === undefined ? 'transferring' : 'verifying',
      totalBytes: this.#totalBytes,
      doneBytes: this.#written + this.#skipped,
      readBytes: this.#written - (this.#zero - this.#skipped),
      newBytes: this.#written,
      deduplicatedBytes: 0,
      zeroBytes: this.#zero,
      storedBytes: 0,
      ...(this.#verified === undefined ? {} : { verifiedBytes: this.#verified }),
      seconds: this.#seconds,
    };
  }
}
