import type { Progress } from '../transfer/progress.ts';
import { RateMeter, type Status } from './progress.ts';
import { formatBytes, formatClock, formatPercent } from './units.ts';

/** The clock is the reporter's: it goes on while the transfer waits. */
type TransferProgress = Omit<Progress, 'seconds'>;

/** Describes a transfer again and again; it remembers the last seconds to tell the rate. */
export class TransferStatus {
  readonly #verb: 'backup' | 'restore';
  readonly #meter = new RateMeter();

  constructor(verb: 'backup' | 'restore') {
    this.#verb = verb;
  }

  describe(progress: TransferProgress, seconds: number): Status {
    const { totalBytes: total, doneBytes: done } = progress;
    const rate = this.#meter.measure(seconds, done);
    const fraction = total === undefined || total === 0 ? undefined : done / total;
    // Everything is read, and the last of it is on its way to the store.
    const ending = total !== undefined && done >= total;
    const { verifiedBytes: verified, storedAgainBytes: again } = progress;
    const phase = ending && verified === undefined ? 'finishing' : progress.phase;
    const left = total === undefined || rate <= 0 ? undefined : Math.max(0, total - done) / rate;
    return {
      parts: [
        ...(fraction === undefined ? [] : [formatPercent(fraction)]),
        total === undefined ? formatBytes(done) : `${formatBytes(done)} of ${formatBytes(total)}`,
        phase === 'transferring' ? `${formatBytes(rate)}/s` : phase,
        ...(verified === undefined ? [] : [`${formatBytes(verified)} read back`]),
        ...(again === undefined ? [] : [`${formatBytes(again)} of the base stored anew`]),
        ...(left === undefined || phase !== 'transferring' ? [] : [`${formatClock(left)} left`]),
        ...this.#amounts(progress),
      ],
      record: {
        seconds_elapsed: Math.round(seconds),
        ...(left === undefined ? {} : { seconds_remaining: Math.round(left) }),
        ...(fraction === undefined ? {} : { percent_done: Math.min(1, fraction) }),
        ...(total === undefined ? {} : { total_bytes: total }),
        [this.#verb === 'backup' ? 'bytes_done' : 'bytes_restored']: done,
        phase,
        bytes_per_second: Math.round(rate),
        ...(this.#verb === 'backup'
          ? {
              bytes_read: progress.readBytes,
              data_added: progress.newBytes,
              data_added_packed: progress.storedBytes,
              deduplicated_bytes: progress.deduplicatedBytes,
              zero_bytes: progress.zeroBytes,
              ...(again === undefined ? {} : { bytes_stored_again: again }),
            }
          : {
              zero_bytes: progress.zeroBytes,
              ...(verified === undefined ? {} : { bytes_verified: verified }),
            }),
      },
    };
  }

  #amounts({ newBytes, deduplicatedBytes, zeroBytes }: TransferProgress): string[] {
    if (this.#verb === 'restore') return [];
    return [
      `new ${formatBytes(newBytes)}`,
      `known ${formatBytes(deduplicatedBytes)}`,
      `zero ${formatBytes(zeroBytes)}`,
    ];
  }
}
