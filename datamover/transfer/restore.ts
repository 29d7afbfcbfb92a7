import { hash } from 'node:crypto';
import { read as readCallback } from 'node:fs';
import { promisify } from 'node:util';
import { DatamoverError } from '../errors.ts';
import { loadReads } from '../repository/loader/loader.ts';
import { plainLength, type PackRead } from '../repository/loader/read-plan.ts';
import type { Repository } from '../repository/repository.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import type { Id } from '../repository/types.ts';
import { toBytes } from '../repository/id.ts';
import { ImageTarget, planTarget, type TargetPlan } from '../volumes/file/target.ts';
import { forgetPages } from '../volumes/file/page-cache.ts';
import { PipeTarget } from '../volumes/file/pipe.ts';
import { FullDiff } from '../volumes/rbd/full-diff.ts';
import { zeroBlobId } from './image-tree.ts';
import type { VolumeFormat, VolumeName } from './layout.ts';
import { packSource } from './pack-source.ts';
import { PROGRESS_INTERVAL_MS, type Progress, type TransferOptions } from './progress.ts';
import { orderedReads, scatteredReads } from './restore-reads.ts';
import { checkForm, chooseStream } from './stream-choice.ts';
import { VolumeReader } from './volume-reader.ts';

export type RestoreTarget = { readonly kind: 'file'; readonly path: string } | PipeRequest;

export interface PipeRequest {
  readonly kind: 'stdout';
  readonly fd: number;
  /** The bytes as they are (without it), or a full diff for `rbd import-diff`. */
  readonly as?: 'image' | 'rbd-diff';
}

export interface RestoreRequest {
  readonly snapshotId: Id;
  readonly target: RestoreTarget;
  /** Leave holes for zeros where the target allows it (default). */
  readonly sparse?: boolean;
  /** Read the target again and compare every blob with its id. */
  readonly verify?: boolean;
  /** Overwrite a file that exists. */
  readonly force?: boolean;
  /** Refuses a backup that is not kept so: as an image, or as a chain of ZFS send streams. */
  readonly as?: 'image' | 'zfs';
  /** Of a chain, one stream alone: its number (0 is the full one) or the guid of its snapshot. */
  readonly stream?: string;
}

export interface RestorePlan {
  readonly snapshotId: Id;
  readonly time: string;
  readonly volume: VolumeName;
  readonly format: VolumeFormat;
  readonly totalBytes: number;
  readonly target: ({ readonly kind: 'file' } & { readonly file: TargetPlan }) | PipeRequest;
  readonly sparse: boolean;
  readonly verify: boolean;
  /** The number of the one stream that is restored; undefined for the whole volume. */
  readonly stream: number | undefined;
}

export interface RestoreSummary {
  readonly bytesRestored: number;
  readonly bytesWritten: number;
  /** Zeros that became holes. */
  readonly bytesSkippedZero: number;
  readonly verified: boolean;
  readonly seconds: number;
}

const read = promisify(readCallback);

/** Zero blobs have this length on the grid, and restic's shortest one in a stream. */
const ZERO_LENGTHS = [CELL_BYTES, 512 << 10];

export async function planRestore(repository: Repository, request: RestoreRequest): Promise<RestorePlan> {
  const { snapshotId, target } = request;
  const snapshot = await repository.loadSnapshot(snapshotId);
  const { record } = await VolumeReader.open(repository, snapshotId, snapshot);
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
  return {
    snapshotId,
    time: snapshot.time,
    volume: record.volume,
    format: record.format,
    totalBytes: bytes,
    stream: stream?.number,
    target:
      target.kind === 'stdout'
        ? target
        : { kind: 'file', file: await planTarget(target.path, bytes, request.force ?? false) },
    sparse: request.sparse ?? true,
    verify: request.verify ?? false,
  };
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
    else await restoreToFile(repository, volume, plan, plan.target.file, tally, options);
  } finally {
    tally.stop();
  }
  return tally.summary(plan.verify);
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
  const diff = as === 'rbd-diff' ? new FullDiff(volume.record.bytes, write) : undefined;
  const reads = async function* (): AsyncGenerator<PackRead> {
    for await (const file of volume.files(stream)) yield* orderedReads(repository, file);
  };
  await loadReads(packSource(repository), reads(), {
    ...pickOptions(options),
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

/** Neighbours that are written once go out in one piece. */
function piecesInOrder(packRead: PackRead): { from: number; to: number; times: number }[] {
  const pieces: { from: number; to: number; times: number }[] = [];
  let at = 0;
  for (const { location, positions } of packRead.blobs) {
    const end = at + plainLength(location);
    const last = pieces.at(-1);
    if (last?.times === 1 && positions.length === 1) last.to = end;
    else pieces.push({ from: at, to: end, times: positions.length });
    at = end;
  }
  return pieces;
}

async function restoreToFile(
  repository: Repository,
  volume: VolumeReader,
  plan: RestorePlan,
  file: TargetPlan,
  tally: Tally,
  options: TransferOptions,
): Promise<void> {
  const target = await ImageTarget.open(file);
  try {
    const zeroIds = new Map(ZERO_LENGTHS.map((length) => [zeroBlobId(length), length]));
    const isZero = (id: Id, length: number): boolean => zeroIds.get(id) === length;
    const skipZeros = plan.sparse && target.startsAsZeros;
    const reads = async function* (): AsyncGenerator<PackRead> {
      for await (const content of volume.files(plan.stream)) {
        const scattered = scatteredReads(repository, content, isZero);
        for (const zero of scattered.zeros) {
          if (!skipZeros) await target.writeZeros(zero.position, zero.length);
          tally.zero(zero.length, skipZeros);
        }
        yield* scattered.reads;
      }
    };
    await loadReads(packSource(repository), reads(), {
      ...pickOptions(options),
      ordered: false,
      deliver: async (packRead, plain) => {
        for (const { position, from, to } of piecesByPosition(packRead)) {
          await target.write(position, plain.subarray(from, to));
          tally.wrote(to - from);
        }
      },
    });
    await target.sync();
    if (plan.verify) {
      forgetPages(target.fd);
      await verify(repository, volume, plan.stream, target.fd, file.path, options.signal);
    }
    await target.close();
  } catch (error) {
    await target.discard();
    throw error;
  }
}

/** Blobs that lie side by side in memory and in the target become one write. */
function piecesByPosition(packRead: PackRead): { position: number; from: number; to: number }[] {
  const pieces: { position: number; from: number; to: number }[] = [];
  let at = 0;
  for (const { location, positions } of packRead.blobs) {
    const end = at + plainLength(location);
    for (const position of positions) {
      const last = pieces.at(-1);
      if (last?.to === at && last.position + (last.to - last.from) === position) last.to = end;
      else pieces.push({ position, from: at, to: end });
    }
    at = end;
  }
  return pieces;
}

async function verify(
  repository: Repository,
  volume: VolumeReader,
  stream: number | undefined,
  fd: number,
  path: string,
  signal?: AbortSignal,
): Promise<void> {
  let buffer = Buffer.alloc(CELL_BYTES);
  for await (const file of volume.files(stream)) {
    let position = file.position;
    for (const id of file.content) {
      signal?.throwIfAborted();
      const location = repository.index.lookup('data', toBytes(id));
      const length = location ? plainLength(location) : 0;
      if (buffer.length < length) buffer = Buffer.alloc(length);
      const { bytesRead } = await read(fd, buffer, 0, length, position);
      if (bytesRead !== length || hash('sha256', buffer.subarray(0, length), 'hex') !== id) {
        throw new DatamoverError({
          operation: 'verify',
          subject: path,
          cause: `bytes ${position} to ${position + length} read back differ from what was written`,
          hint: 'the target loses data: check its disk',
          kind: 'incomplete',
        });
      }
      position += length;
    }
  }
}

function pickOptions(options: TransferOptions): Pick<TransferOptions, 'signal' | 'workers'> {
  return {
    ...(options.signal ? { signal: options.signal } : {}),
    ...(options.workers ? { workers: options.workers } : {}),
  };
}

/** Counts what a restore has done, and reports it now and then. */
class Tally {
  readonly #started = performance.now();
  readonly #totalBytes: number;
  readonly #timer: NodeJS.Timeout | undefined;
  #written = 0;
  #skipped = 0;
  #zero = 0;

  constructor(totalBytes: number, onProgress?: (progress: Progress) => void) {
    this.#totalBytes = totalBytes;
    if (onProgress) this.#timer = setInterval(() => onProgress(this.#progress()), PROGRESS_INTERVAL_MS);
  }

  wrote(bytes: number): void {
    this.#written += bytes;
  }

  zero(bytes: number, skipped: boolean): void {
    this.#zero += bytes;
    if (skipped) this.#skipped += bytes;
    else this.#written += bytes;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  summary(verified: boolean): RestoreSummary {
    return {
      bytesRestored: this.#written + this.#skipped,
      bytesWritten: this.#written,
      bytesSkippedZero: this.#skipped,
      verified,
      seconds: this.#seconds,
    };
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  #progress(): Progress {
    return {
      phase: 'transferring',
      totalBytes: this.#totalBytes,
      doneBytes: this.#written + this.#skipped,
      readBytes: this.#written - (this.#zero - this.#skipped),
      newBytes: this.#written,
      deduplicatedBytes: 0,
      zeroBytes: this.#zero,
      storedBytes: 0,
      seconds: this.#seconds,
    };
  }
}
