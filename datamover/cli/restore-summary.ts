import { volumeName, type VolumeBackup } from '../catalog/volume-backup.ts';
import type { RestoreSummary } from '../transfer/restore.ts';
import type { Output } from './output.ts';
import { formatBytes, formatSeconds } from './units.ts';

export function printRestore(
  output: Output,
  summary: RestoreSummary,
  { backup, place }: { readonly backup: VolumeBackup; readonly place: string },
): void {
  const { bytesRestored, bytesSkippedZero, bytesWritten, seconds, verified } = summary;
  const rate = seconds > 0 ? ` (${formatBytes(bytesRestored / seconds)}/s)` : '';
  const volume = volumeName(backup) ?? backup.paths.join(', ');
  output.say(
    `${volume} of snapshot ${backup.shortId}: ${formatBytes(bytesRestored)} restored to ${place}` +
      ` in ${formatSeconds(seconds)}${rate}`,
    `  written ${formatBytes(bytesWritten)}` +
      (bytesSkippedZero > 0 ? `, left sparse ${formatBytes(bytesSkippedZero)}` : '') +
      (verified ? ', read back and verified' : ''),
  );
  output.record({
    message_type: 'summary',
    snapshot_id: backup.id,
    volume,
    target: place,
    total_bytes: bytesRestored,
    bytes_restored: bytesRestored,
    bytes_written: bytesWritten,
    bytes_skipped_zero: bytesSkippedZero,
    verified,
    total_duration: seconds,
  });
}
