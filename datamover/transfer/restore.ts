import { DatamoverError } from '../errors.ts';
import { loadReads } from '../repository/loader/loader.ts';
import type { PackRead } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import type { Id } from '../repository/types.ts';
import type { TargetPlan, TargetWishes, VolumeDriver, VolumeTarget } from '../volumes/driver.ts';
import { FileDriver } from '../volumes/file/driver.ts';
import { PipeTarget } from '../volumes/file/pipe.ts';
import { FullDiff } from '../volumes/rbd/full-diff.ts';
import { chainBytes, restoreChain } from './chain-restore.ts';
import type { VolumeFormat, VolumeName, VolumeRecord } from './layout.ts';
import { packSource } from './pack-source.ts';
import type { TransferOptions } from './progress.ts';
import { orderedReads, piecesInOrder } from './restore-reads.ts';
import { Tally, type RestoreSummary } from './restore-tally.ts';
import { isChain } from './stream-chain.ts';
import { checkForm, chooseStream } from './stream-choice.ts';
import { executeStreamRestore, planStreamRestore, type StreamRestorePlan } from './stream-restore.ts';
import { loadOptions, restoreToVolume } from './volume-restore.ts';
import { VolumeReader } from './volume-reader.ts';

export type { RestoreSummary } from './restore-tally.ts';

export type RestoreTarget =
  /** A volume on a storage. */
  { readonly kind: 'driver'; readonly driver: VolumeDriver; readonly location: string } | PipeRequest;

export interface PipeRequest {
  readonly kind: 'stdout';
  readonly fd: number;
  /** The bytes as they are (without it), or a full diff for `rbd import-diff`. */
  readonly as?: 'image' | 'rbd-diff';
}

/** A file or a block device. */
export function fileTarget(path: string): RestoreTarget {
  return { kind: 'driver', driver: new FileDriver(), location: path };
}

export interface RestoreRequest {
  readonly snapshotId: Id;
  readonly target: RestoreTarget;
  /** Leave holes for zeros where the target allows it (default). */
  readonly sparse?: boolean;
  /** Read the target again and compare every blob with its id; `images`: only where it gets an image, not streams that it receives. */
  readonly verify?: boolean | 'images';
  /** Overwrite a volume that exists. */
  readonly force?: boolean;
  /** Refuses a backup that is not kept so: as an image, or as a chain of ZFS send streams. */
  readonly as?: 'image' | 'zfs';
  /** Of a chain, one stream alone: its number (0 is the full one) or the guid of its snapshot. */
  readonly stream?: string;
  /** How a new volume is to be made. */
  readonly wishes?: TargetWishes;
}

export interface RestorePlan {
  readonly snapshotId: Id;
  readonly time: string;
  readonly volume: VolumeName;
  readonly format: VolumeFormat;
  readonly totalBytes: number;
  readonly target:
    | { readonly kind: 'driver'; readonly driver: VolumeDriver; readonly plan: TargetPlan }
    | StreamRestorePlan
    | PipeRequest;
  readonly sparse: boolean;
  readonly verify: boolean;
  /** The number of the one stream that is restored; undefined for the whole volume. */
  readonly stream: number | undefined;
}

export async function planRestore(
  repository: Repository,
  request: RestoreRequest,
  signal?: AbortSignal,
): Promise<RestorePlan> {
  const { snapshotId, target } = request;
  const snapshot = await repository.loadSnapshot(snapshotId);
  const volume = await VolumeReader.open(repository, snapshotId, snapshot, signal);
  const { record } = volume;
  const isReceived = record.format === 'stream' && target.kind === 'driver' && target.driver.name !== 'file';
  if (isReceived && request.verify === true) {
    throw new DatamoverError({
      operation: 'restore',
      subject: snapshotId.slice(0, 8),
      cause: 'it is a chain of streams: what receives them cannot be read back and compared',
      hint: 'every blob and every record of a stream is checked on the way anyway; leave --verify out',
      kind: 'usage',
    });
  }
  if (target.kind === 'stdout' && request.verify) {
    throw new DatamoverError({
      operation: 'restore',
      subject: snapshotId.slice(0, 8),
      cause: 'a pipe cannot be read again to verify it',
      hint: 'every blob is checked before it is written anyway; leave --verify out',
      kind: 'usage',
    });
  }
  if (target.kind === 'stdout' && target.as === 'rbd-diff' && record.format !== 'image') {
    throw new DatamoverError({
      operation: 'restore',
      subject: snapshotId.slice(0, 8),
      cause: 'it is a stream, of which no rbd diff can be made',
      hint: 'leave --as out to get it as it was',
      kind: 'usage',
    });
  }
  checkForm(record, snapshotId, request.as);
  const stream = request.stream === undefined ? undefined : chooseStream(record, snapshotId, request.stream);
  const bytes = stream?.bytes ?? record.bytes;
  const planned =
    target.kind === 'stdout'
      ? target
      : isReceived
        ? await planStreams(repository, volume, target, request, stream?.number, signal)
        : await planVolume(target, record, bytes, request, signal);
  return {
    snapshotId,
    time: snapshot.time,
    volume: record.volume,
    format: record.format,
    totalBytes: planned.kind === 'streams' ? planned.bytes : bytes,
    stream: stream?.number,
    target: planned,
    sparse: request.sparse ?? true,
    verify: !isReceived && Boolean(request.verify),
  };
}

/** Streams lie as bytes in a file; any other storage has to take them for what they are. */
async function planStreams(
  repository: Repository,
  volume: VolumeReader,
  { driver, location }: Extract<RestoreTarget, { kind: 'driver' }>,
  { snapshotId, force = false, wishes }: RestoreRequest,
  stream: number | undefined,
  signal?: AbortSignal,
): Promise<StreamRestorePlan> {
  const request = { driver, location, force, stream, ...(wishes !== undefined && { wishes }) };
  return planStreamRestore(repository, volume, snapshotId, request, { ...(signal && { signal }) });
}

async function planVolume(
  { driver, location }: Extract<RestoreTarget, { kind: 'driver' }>,
  record: VolumeRecord,
  bytes: number,
  { force = false, wishes }: RestoreRequest,
  signal?: AbortSignal,
): Promise<RestorePlan['target']> {
  const own = record[driver.name];
  const need = {
    bytes,
    force,
    ...(own !== undefined && { record: own }),
    ...(wishes !== undefined && { wishes }),
  };
  return { kind: 'driver', driver, plan: await driver.planTarget(location, need, signal) };
}

/** Carries the plan out. Bytes that do not have the SHA-256 they are named by are never written. */
export async function executeRestore(
  repository: Repository,
  plan: RestorePlan,
  options: TransferOptions = {},
): Promise<RestoreSummary> {
  const volume = await VolumeReader.open(
    repository,
    plan.snapshotId,
    await repository.loadSnapshot(plan.snapshotId, options.signal),
    options.signal,
  );
  const tally = new Tally(plan.totalBytes, options.onProgress);
  try {
    if (plan.target.kind === 'stdout')
      await restoreToPipe(repository, volume, plan.stream, plan.target, tally, options);
    else if (plan.target.kind === 'streams') await executeStreamRestore(plan.target, tally, options);
    else {
      const { driver, plan: chosen } = plan.target;
      const target = await driver.openTarget(chosen, options.signal);
      await restoreToTarget(repository, volume, plan, chosen.location, target, tally, options);
    }
  } finally {
    tally.stop();
  }
  return tally.summary(plan.verify);
}

async function restoreToTarget(
  repository: Repository,
  volume: VolumeReader,
  plan: RestorePlan,
  place: string,
  target: VolumeTarget,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  if (!isChain(volume.record)) {
    const content = { bytes: plan.totalBytes, files: () => volume.files() };
    await restoreToVolume(repository, content, place, target, plan, tally, options);
    return;
  }
  await restoreChain(repository, volume, plan.stream, place, target, plan.verify, tally, options);
}

async function restoreToPipe(
  repository: Repository,
  volume: VolumeReader,
  stream: number | undefined,
  { fd, as }: PipeRequest,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  const pipe = new PipeTarget(fd);
  const write = (bytes: Uint8Array): Promise<void> => pipe.write(bytes, options.signal);
  if (isChain(volume.record)) {
    for await (const chunk of chainBytes(repository, volume, stream, options)) {
      await write(chunk);
      tally.wrote(chunk.length);
    }
    return;
  }
  const diff = as === 'rbd-diff' ? new FullDiff(volume.record.bytes, write) : undefined;
  const reads = async function* (): AsyncGenerator<PackRead> {
    for await (const file of volume.files()) yield* orderedReads(repository, file);
  };
  await loadReads(packSource(repository), reads(), {
    ...loadOptions(options),
    ordered: true,
    deliver: async (packRead, plain) => {
      for (const { from, to, times } of piecesInOrder(packRead)) {
        const piece = plain.subarray(from, to);
        for (let i = 0; i < times; i++) await (diff === undefined ? write(piece) : diff.write(piece));
        tally.wrote((to - from) * times);
      }
    },
  });
  await diff?.end();
}
