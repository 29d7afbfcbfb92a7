import { DatamoverError } from '../errors.ts';
import type { Id } from '../repository/types.ts';
import type { VolumeRecord } from './layout.ts';
import { chainOf, type ChainStream } from './stream-chain.ts';

/** A stream of a backup, by its place in the chain; 0 is the full one. */
export interface NumberedStream extends ChainStream {
  readonly number: number;
}

/** The streams of a backup that keeps send streams. @throws DatamoverError where it does not. */
export function listStreams(record: VolumeRecord, snapshot: Id): readonly NumberedStream[] {
  const chain = chainOf(record);
  if (chain !== undefined) return chain.map((stream, number) => ({ ...stream, number }));
  throw new DatamoverError({
    operation: 'list the streams of snapshot',
    subject: snapshot.slice(0, 8),
    cause:
      record.format === 'image'
        ? 'it keeps an image, no send streams'
        : 'its stream was backed up without a look inside (--as stream)',
    hint: 'only backups made with --as zfs have a list of streams',
    kind: 'usage',
  });
}

/** Finds a stream by its number or the guid of its snapshot. */
export function chooseStream(record: VolumeRecord, snapshot: Id, wanted: string): NumberedStream {
  const streams = listStreams(record, snapshot);
  const found =
    streams.find(({ number }) => String(number) === wanted) ?? streams.find(({ zfs }) => zfs.guid === wanted);
  if (found !== undefined) return found;
  throw new DatamoverError({
    operation: 'find the stream',
    subject: wanted,
    cause: `snapshot ${snapshot.slice(0, 8)} has the streams 0 to ${streams.length - 1}, and none of a snapshot with this guid`,
    hint: 'restore --list shows them',
    kind: 'usage',
  });
}

/** Refuses to hand out a backup as something that it is not. */
export function checkForm(record: VolumeRecord, snapshot: Id, as: 'image' | 'zfs' | undefined): void {
  if (as === 'zfs') listStreams(record, snapshot);
  if (as === 'image' && record.format !== 'image') {
    throw new DatamoverError({
      operation: 'restore',
      subject: snapshot.slice(0, 8),
      cause: 'it keeps streams, no image',
      hint: 'leave --as out, or use --as zfs',
      kind: 'usage',
    });
  }
}
