import type { BackupSource } from '../transfer/backup-plan.ts';
import { warmUp } from '../transfer/warm-up.ts';
import type { SourceVolume } from '../volumes/driver.ts';
import { cleanUpFirst } from './clean-up.ts';
import type { Output } from './output.ts';

/**
 * What a backup does beside the opening of its repository and the planning, which take a quarter of a second: it starts its threads,
 * looks at the source, and cleans up there what an earlier backup left. Nothing is changed on the storage before the backup may run.
 */
export class EarlyStart {
  readonly #source: BackupSource;
  readonly #output: Output;
  readonly #dryRun: boolean;
  readonly #stop = new AbortController();
  #volume: Promise<SourceVolume> | undefined;
  #cleaned: Promise<void> | undefined;
  #warm = false;

  constructor(source: BackupSource, output: Output, options: { readonly dryRun: boolean }) {
    this.#source = source;
    this.#output = output;
    this.#dryRun = options.dryRun;
  }

  /** Before the repository's key is derived. */
  begin(interrupt: AbortSignal): void {
    if (this.#source.kind !== 'driver') return this.warmUp();
    const { driver, location } = this.#source;
    this.#volume = driver.identify(location, AbortSignal.any([interrupt, this.#stop.signal]));
    // Whoever needs it hears of its failure; the repository's own come first.
    this.#volume.then(
      () => this.warmUp(),
      () => undefined,
    );
  }

  /**
   * Starts the threads, once. Each costs as much of a processor as a process: they do not begin together with the one that looks at the
   * source, and at the latest when the repository is open.
   */
  warmUp(): void {
    if (this.#warm || this.#stop.signal.aborted) return;
    this.#warm = true;
    warmUp(this.#source);
  }

  /** When the repository is open and locked. Of a source that is not there nothing is cleaned up. */
  cleanUp(interrupt: AbortSignal): void {
    if (this.#source.kind !== 'driver' || this.#dryRun) return;
    const signal = AbortSignal.any([interrupt, this.#stop.signal]);
    const { driver, location } = this.#source;
    const found = this.#volume ?? driver.identify(location, signal);
    this.#volume = found;
    const source = this.#source;
    this.#cleaned = found.then(
      () => cleanUpFirst(this.#output, source, signal),
      () => undefined,
    );
    this.#cleaned.catch(() => undefined);
  }

  /** The source, with what was found of it. */
  source(): BackupSource {
    if (this.#source.kind !== 'driver' || this.#volume === undefined) return this.#source;
    return { ...this.#source, volume: this.#volume };
  }

  /** Before the source is held. */
  async cleanedUp(): Promise<void> {
    await this.#cleaned;
  }

  /** Always at the end: ends what nobody waited for. */
  async end(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled([this.#volume, this.#cleaned]);
    if (this.#source.kind === 'driver') await this.#source.driver.close();
  }
}
