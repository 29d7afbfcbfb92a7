import type { BackupSource } from '../transfer/backup-plan.ts';
import { warmUp } from '../transfer/warm-up.ts';
import type { SourceVolume } from '../volumes/driver.ts';
import { cleanUpFirst } from './clean-up.ts';
import type { Output } from './output.ts';

/**
 * What a backup does while its repository is being opened, which takes a quarter of a second: it starts its threads, looks at the
 * source, and cleans up there what an earlier backup left.
 */
export class EarlyStart {
  readonly #source: BackupSource;
  readonly #output: Output;
  readonly #dryRun: boolean;
  readonly #stop = new AbortController();
  #volume: Promise<SourceVolume> | undefined;
  #cleaned: Promise<void> | undefined;

  constructor(source: BackupSource, output: Output, options: { readonly dryRun: boolean }) {
    this.#source = source;
    this.#output = output;
    this.#dryRun = options.dryRun;
  }

  begin(interrupt: AbortSignal): void {
    warmUp(this.#source);
    if (this.#source.kind !== 'driver') return;
    const signal = AbortSignal.any([interrupt, this.#stop.signal]);
    const { driver, location } = this.#source;
    this.#volume = driver.identify(location, signal);
    this.#cleaned = this.#dryRun ? undefined : cleanUpFirst(this.#output, this.#source, signal);
    // Whoever needs them hears of their failures; the repository's own come first.
    this.#volume.catch(() => undefined);
    this.#cleaned?.catch(() => undefined);
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
