import { DatamoverError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id } from '../repository/types.ts';
import type {
  StoredStream,
  StreamReceiver,
  StreamTargetPlan,
  TargetWishes,
  VolumeDriver,
} from '../volumes/driver.ts';
import type { VolumeRecord } from './layout.ts';
import type { TransferOptions } from './progress.ts';
import type { Tally } from './restore-tally.ts';
import { streamBytes } from './stream-bytes.ts';
import { listStreams } from './stream-choice.ts';
import type { VolumeReader } from './volume-reader.ts';

export interface StreamRestoreRequest {
  readonly driver: VolumeDriver;
  readonly location: string;
  readonly force: boolean;
  readonly wishes?: TargetWishes;
  /** The number of the one stream that is wanted; all without it. */
  readonly stream: number | undefined;
}

/** A chain of send streams on its way into a storage that receives them. */
export interface StreamRestorePlan {
  readonly kind: 'streams';
  readonly receiver: StreamReceiver;
  readonly plan: StreamTargetPlan;
  /** Of the streams that are still to be received, once each. */
  readonly bytes: number;
}

/** Says what the storage still needs of a backup's chain. */
export async function planStreamRestore(
  repository: Repository,
  volume: VolumeReader,
  snapshot: Id,
  request: StreamRestoreRequest,
  options: TransferOptions = {},
): Promise<StreamRestorePlan> {
  const { driver, location, force, wishes } = request;
  const receiver = driver.streams;
  if (receiver === undefined) throw noReceiver(location, driver.name);
  if (request.stream !== undefined) {
    throw new DatamoverError({
      operation: 'restore to',
      subject: location,
      cause: 'one stream alone makes no volume',
      hint: 'leave --stream out, or pipe it to zfs receive',
      kind: 'usage',
    });
  }
  const record = recordFor(volume.record, driver.name);
  const streams = listStreams(volume.record, snapshot).map(({ number, bytes, zfs }): StoredStream => ({
    guid: zfs.guid,
    ...(zfs.fromGuid !== undefined && { fromGuid: zfs.fromGuid }),
    bytes,
    open: (signal) => streamBytes(repository, volume, number, { ...options, ...(signal && { signal }) }),
  }));
  const need = {
    ...{ streams, force },
    ...(record !== undefined && { record }),
    ...(wishes !== undefined && { wishes }),
  };
  const plan = await receiver.plan(location, need, options.signal);
  const bytes = plan.streams.reduce((sum, stream) => sum + stream.bytes, 0);
  return { kind: 'streams', receiver, plan, bytes };
}

/** Receives what is left of the chain. What came through before a failure stays, and the next restore goes on with it. */
export async function executeStreamRestore(
  { receiver, plan }: StreamRestorePlan,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  await receiver.receive(plan, (bytes) => tally.wrote(bytes), options.signal);
}

/** What the storage's own driver recorded, or what a pipe did. */
function recordFor(record: VolumeRecord, name: VolumeDriver['name']): unknown {
  return record[name];
}

function noReceiver(location: string, name: string): DatamoverError {
  return new DatamoverError({
    operation: 'restore to',
    subject: location,
    cause: `the backup is a chain of ZFS send streams, which the ${name} driver cannot receive`,
    hint: 'restore it to zfs:POOL/DATASET, or to a pipe with --to -',
    kind: 'usage',
  });
}
