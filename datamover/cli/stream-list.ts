import { listBackups } from '../catalog/list.ts';
import { resolveBackup } from '../catalog/select.ts';
import { listStreams } from '../transfer/stream-choice.ts';
import { VolumeReader } from '../transfer/volume-reader.ts';
import { readOwnFilter, type FilterOptions } from './filter.ts';
import { withRepository } from './session.ts';
import { formatTable } from './table.ts';
import { formatBytes } from './units.ts';
import type { Context } from './verb.ts';

/** `restore --list`: the send streams of a backup, in the order in which they are received. */
export async function listStreamsOf(
  context: Context,
  reference: string,
  options: FilterOptions,
): Promise<void> {
  const { output, env } = context;
  await withRepository(context, { lock: 'read', index: true }, async (repository, { signal }) => {
    const { id } = resolveBackup(await listBackups(repository), reference, readOwnFilter(options, env));
    const snapshot = await repository.loadSnapshot(id, signal);
    const { record } = await VolumeReader.open(repository, id, snapshot, signal);
    const streams = listStreams(record, id);
    output.data(
      ...formatTable(
        [
          { heading: 'Number', right: true },
          { heading: 'Guid' },
          { heading: 'From' },
          { heading: 'Snapshot' },
          { heading: 'Size', right: true },
          { heading: 'Created' },
          { heading: 'Features' },
        ],
        streams.map(({ number, bytes, zfs }) => [
          String(number),
          zfs.guid,
          zfs.fromGuid ?? '',
          zfs.snapshot,
          formatBytes(bytes),
          zfs.created ?? '',
          zfs.features.join(','),
        ]),
      ),
    );
    output.record(
      streams.map(({ number, bytes, zfs: { fromGuid, ...zfs } }) => ({
        number,
        ...zfs,
        from: fromGuid ?? null,
        bytes,
      })),
    );
  });
}
