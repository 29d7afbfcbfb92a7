import { listBackups } from '../../catalog/list.ts';
import { resolveBackup, selectBackups } from '../../catalog/select.ts';
import { ownTags, volumeName, type VolumeBackup } from '../../catalog/volume-backup.ts';
import { describeCause } from '../../errors.ts';
import type { Repository } from '../../repository/repository.ts';
import { VolumeReader } from '../../transfer/volume-reader.ts';
import { parseCount } from '../arguments.ts';
import { addFilterOptions, readFilter, type FilterOptions } from '../filter.ts';
import type { Output } from '../output.ts';
import { withRepository } from '../session.ts';
import { formatTable } from '../table.ts';
import { count, formatBytes, formatTime } from '../units.ts';
import type { Verb } from '../verb.ts';

interface SnapshotsOptions extends FilterOptions {
  readonly latest?: number;
}

const EXAMPLES = `
Examples:
  datamover snapshots
  datamover snapshots --volume shop/db --latest 3
  datamover snapshots --json | jq -r '.[].id'

With --json: one array, oldest first, of {id, short_id, time, volume, namespace, name, format, size, driver, hostname,
tags, paths, tree, parent}. size is in bytes. Backups made by restic itself have format "files" and no volume.`;

export const verb: Verb = {
  configure(command, run) {
    addFilterOptions(command)
      .argument('[ids...]', 'only these snapshots (beginnings of ids, latest)')
      .description('Lists the backups in the repository, oldest first.')
      .option('--latest <n>', 'only the last n of each volume', parseCount)
      .addHelpText('after', EXAMPLES)
      .action((ids: string[], options: SnapshotsOptions) =>
        run((context) =>
          withRepository(context, { lock: 'read' }, async (repository) => {
            const filter = readFilter(options);
            const all = await listBackups(repository);
            const chosen =
              ids.length === 0 ? selectBackups(all, filter) : ids.map((id) => resolveBackup(all, id, filter));
            const latest = options.latest === undefined ? chosen : lastOfEach(chosen, options.latest);
            const shown = await withSizes(repository, latest, context.output);
            if (context.output.json) context.output.record(shown.map(describeBackup));
            else if (shown.length === 0) context.output.data('no snapshots');
            else context.output.data(...formatBackups(shown), count(shown.length, 'snapshot'));
          }),
        ),
      );
  },
};

/** Asks the backups themselves where their snapshot files do not tell the size. Only then is the index needed. */
async function withSizes(
  repository: Repository,
  backups: readonly VolumeBackup[],
  output: Output,
): Promise<VolumeBackup[]> {
  const sizes = new Map<string, number>();
  const asked = backups.filter(({ size, format }) => size === undefined && format !== 'files');
  if (asked.length > 0) await repository.loadIndex();
  for (const { id } of asked) {
    try {
      const { record } = await VolumeReader.open(repository, id, await repository.loadSnapshot(id));
      sizes.set(id, record.bytes);
    } catch (error) {
      // A list that fails because of one damaged backup would hide the others.
      output.note(describeCause(error));
    }
  }
  return backups.map((backup) => {
    const size = backup.size ?? sizes.get(backup.id);
    return size === undefined ? backup : { ...backup, size };
  });
}

/** A backup as scripts see it. */
function describeBackup(backup: VolumeBackup): Record<string, unknown> {
  const volume = volumeName(backup);
  return {
    id: backup.id,
    short_id: backup.shortId,
    time: backup.time,
    ...(volume === undefined ? {} : { volume, namespace: backup.namespace, name: backup.name }),
    format: backup.format,
    ...(backup.size === undefined ? {} : { size: backup.size }),
    ...(backup.driver === undefined ? {} : { driver: backup.driver }),
    ...(backup.host === undefined ? {} : { hostname: backup.host }),
    tags: backup.tags,
    paths: backup.paths,
    tree: backup.tree,
    ...(backup.parent === undefined ? {} : { parent: backup.parent }),
  };
}

/** A table for people; `more` adds a last column, such as the reasons for keeping. */
export function formatBackups(
  backups: readonly VolumeBackup[],
  more?: { readonly heading: string; readonly cell: (backup: VolumeBackup) => string },
): string[] {
  return formatTable(
    [
      { heading: 'ID' },
      { heading: 'Time' },
      { heading: 'Volume' },
      { heading: 'Format' },
      { heading: 'Size', right: true },
      { heading: 'Driver' },
      { heading: 'Host' },
      { heading: 'Tags' },
      ...(more === undefined ? [] : [{ heading: more.heading }]),
    ],
    backups.map((backup) => [
      backup.shortId,
      formatTime(backup.time),
      volumeName(backup) ?? backup.paths.join(', '),
      backup.format,
      backup.size === undefined ? '' : formatBytes(backup.size),
      backup.driver ?? '',
      backup.host ?? '',
      ownTags(backup).join(','),
      ...(more === undefined ? [] : [more.cell(backup)]),
    ]),
  );
}

function lastOfEach(backups: readonly VolumeBackup[], n: number): VolumeBackup[] {
  const left = new Map<string, number>();
  return backups
    .toReversed()
    .filter((backup) => {
      const volume = volumeName(backup) ?? backup.paths.join();
      const used = left.get(volume) ?? 0;
      left.set(volume, used + 1);
      return used < n;
    })
    .toReversed();
}
