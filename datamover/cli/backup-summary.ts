import type { BackupSummary } from '../transfer/backup.ts';
import type { ReadReport } from '../transfer/driver-backup.ts';
import type { Output } from './output.ts';
import { count, formatBytes, formatSeconds } from './units.ts';

export interface SummaryOptions {
  readonly volume: string;
  readonly dryRun: boolean;
  /** --stats: how the bytes were found, beside how many there are. */
  readonly stats: boolean;
}

export function printBackup(output: Output, summary: BackupSummary, options: SummaryOptions): void {
  const { totalBytes, newBytes, deduplicatedBytes, zeroBytes, storedBytes, seconds, read } = summary;
  const { volume, dryRun, stats } = options;
  for (const warning of summary.warnings) output.note(warning);
  const rate = seconds > 0 ? ` (${formatBytes(totalBytes / seconds)}/s)` : '';
  output.say(
    `${volume}: ${formatBytes(totalBytes)} ${dryRun ? 'compared' : 'backed up'} in ${formatSeconds(seconds)}${rate}`,
    `  new ${formatBytes(newBytes)}, known already ${formatBytes(deduplicatedBytes)}, zero ${formatBytes(zeroBytes)}`,
    dryRun
      ? '  nothing was stored (dry run)'
      : `  stored ${formatBytes(storedBytes)}, read ${formatBytes(summary.readBytes)}` +
          (summary.parent === undefined ? '' : `, compared with ${summary.parent.slice(0, 8)}`),
    ...(summary.snapshotId === undefined ? [] : [`snapshot ${summary.snapshotId.slice(0, 8)} saved`]),
  );
  if (stats) output.data(...statistics(summary));
  output.record({
    message_type: 'summary',
    ...(summary.snapshotId === undefined ? { dry_run: true } : { snapshot_id: summary.snapshotId }),
    ...(summary.parent === undefined ? {} : { parent: summary.parent }),
    volume,
    format: summary.format,
    total_bytes_processed: totalBytes,
    bytes_read: summary.readBytes,
    data_added: newBytes,
    data_added_packed: storedBytes,
    deduplicated_bytes: deduplicatedBytes,
    zero_bytes: zeroBytes,
    metadata_bytes: summary.metadataBytes,
    packs: summary.packs,
    ...(read && recordOf(read)),
    warnings: summary.warnings,
    total_duration: seconds,
  });
}

/** How a driver read it, for programs (docs/cli.md). */
function recordOf({ changes, base, changedBytes, estimateBytes, sample, distrusted }: ReadReport) {
  return {
    changes,
    ...(base !== undefined && { base }),
    ...(changedBytes !== undefined && { bytes_changed: changedBytes }),
    ...(estimateBytes !== undefined && { bytes_estimated: estimateBytes }),
    ...(sample && { sample: { cells: sample.cells, ...differing(sample.differsAt) } }),
    ...(distrusted && {
      distrusted: {
        mechanism: distrusted.mechanism,
        base: distrusted.base,
        ...differing(distrusted.differsAt),
      },
    }),
  };
}

function differing(at: number | undefined): { differs_at?: number } {
  return at === undefined ? {} : { differs_at: at };
}

function statistics({ read, readBytes, newBytes, storedBytes }: BackupSummary): string[] {
  const amounts = [
    `read ${formatBytes(readBytes)}`,
    ...(read?.changedBytes === undefined ? [] : [`changed ${formatBytes(read.changedBytes)}`]),
    `new ${formatBytes(newBytes)}`,
    `uploaded ${formatBytes(storedBytes)}`,
  ];
  return [`statistics: ${amounts.join(', ')}`, ...(read === undefined ? [] : knowledge(read))];
}

function knowledge({ changes, base, sample, distrusted }: ReadReport): string[] {
  const since = base === undefined ? 'no base' : `changes since backup ${base.slice(0, 8)}`;
  const because = changes.because === undefined ? '' : `, because ${changes.because}`;
  const compared =
    sample === undefined
      ? []
      : [`  ${count(sample.cells, 'unchanged MiB', 'unchanged MiB')} compared with the source`];
  return [
    `  ${since}, by ${changes.mechanism}${because}`,
    ...compared,
    ...(distrusted === undefined
      ? []
      : [`  ${distrusted.mechanism} since backup ${distrusted.base.slice(0, 8)} was found wrong`]),
  ];
}
