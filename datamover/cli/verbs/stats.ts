import { listBackups } from '../../catalog/list.ts';
import { resolveBackup, selectBackups } from '../../catalog/select.ts';
import { volumeName } from '../../catalog/volume-backup.ts';
import { repositoryStats, type RepositoryStats } from '../../repository/stats.ts';
import { addFilterOptions, readFilter, type FilterOptions } from '../filter.ts';
import { Reporter } from '../progress.ts';
import { withRepository } from '../session.ts';
import { formatFields } from '../table.ts';
import { count, formatBytes } from '../units.ts';
import type { Verb } from '../verb.ts';

const EXAMPLES = `
Examples:
  datamover stats
  datamover stats --volume shop/db
  datamover stats latest --volume shop/db --json

The restore size is what all chosen backups would take if each were restored; the stored size is what their content takes in
the repository, where shared content lies once. With --json the fields of restic's modes stand together.`;

export const verb: Verb = {
  configure(command, run) {
    addFilterOptions(command)
      .description('Counts what is stored, for all backups or for some.')
      .argument('[ids...]', 'only these snapshots')
      .addHelpText('after', EXAMPLES)
      .action((ids: string[], options: FilterOptions) =>
        run(async (context) => {
          const { output, interrupt } = context;
          interrupt.describe({ operation: 'stats', hint: 'nothing was changed' });
          await withRepository(context, { lock: 'read', index: true }, async (repository, { signal }) => {
            const filter = readFilter(options);
            const all = await listBackups(repository);
            const chosen =
              ids.length === 0 ? selectBackups(all, filter) : ids.map((id) => resolveBackup(all, id, filter));
            const volumes = new Set(chosen.map((backup) => volumeName(backup) ?? backup.paths.join()));
            const reporter = new Reporter(output);
            reporter.update((seconds) => ({
              parts: ['counting'],
              record: { seconds_elapsed: Math.round(seconds) },
            }));
            try {
              const snapshots = chosen.map(({ id, tree }) => ({ id, snapshot: { tree } }));
              const stats = await repositoryStats(repository, snapshots, signal);
              reporter.stop();
              output.data(...formatStats(stats, volumes.size));
              output.record(describeStats(stats, volumes.size));
            } finally {
              reporter.stop();
            }
          });
        }),
      );
  },
};

function formatStats({ snapshots, restore, blobs, packs }: RepositoryStats, volumes: number): string[] {
  const factor = (of: number, by: number): string => (by > 0 && of > 0 ? ` (${(of / by).toFixed(2)}x)` : '');
  return formatFields([
    ['Backups', `${snapshots.length} of ${count(volumes, 'volume')}`],
    ['Restore size', `${formatBytes(restore.bytes)} in ${count(restore.files, 'file')}`],
    [
      'Each content once',
      `${formatBytes(blobs.plainBytes)} in ${count(blobs.count, 'blob')}${factor(restore.bytes, blobs.plainBytes)}`,
    ],
    ['Stored', `${formatBytes(blobs.storedBytes)}${factor(blobs.plainBytes, blobs.storedBytes)}`],
    ['All packs in the store', `${formatBytes(packs.bytes)} in ${count(packs.count, 'pack')}`],
  ]);
}

function describeStats(
  { snapshots, restore, blobs, packs }: RepositoryStats,
  volumes: number,
): Record<string, unknown> {
  return {
    message_type: 'summary',
    snapshots_count: snapshots.length,
    volumes_count: volumes,
    total_size: restore.bytes,
    total_file_count: restore.files,
    total_blob_count: blobs.count,
    total_uncompressed_size: blobs.plainBytes,
    total_stored_size: blobs.storedBytes,
    ...(blobs.storedBytes > 0 ? { compression_ratio: blobs.plainBytes / blobs.storedBytes } : {}),
    packs_count: packs.count,
    packs_size: packs.bytes,
    snapshots: snapshots.map(({ id, files, restoreBytes }) => ({ id, files, size: restoreBytes })),
  };
}
