import { hostname } from 'node:os';
import type { Repository } from '../repository/repository.ts';
import type { StreamInput } from '../repository/saver/saver.ts';
import { epochMilliseconds, formatTime } from '../repository/time.ts';
import type { Compression, Id } from '../repository/types.ts';
import { openImage } from '../volumes/file/source.ts';
import { readBaseImage, type BaseImage } from './fed-image.ts';
import { volumePath, type VolumeFormat, type VolumeName } from './layout.ts';
import { readChainBase, type ChainBase } from './stream-chain.ts';

export type BackupSource =
  /** An image file or a block device. */
  | { readonly kind: 'image-file'; readonly path: string }
  /** The bytes of an image, one after the other. */
  | { readonly kind: 'image-stream'; readonly input: StreamInput }
  /** A zvol's send stream, full or from the snapshot of the backup before: it becomes an image. */
  | { readonly kind: 'zvol-stream'; readonly input: StreamInput }
  /** What `rbd export-diff` writes, full or from the snap of the backup before: it becomes an image. */
  | { readonly kind: 'rbd-diff'; readonly input: StreamInput }
  /** A send stream, kept as it is behind those that it builds on. */
  | { readonly kind: 'zfs-stream'; readonly input: StreamInput }
  /** Bytes without a grid that nobody looks into: a dump. */
  | { readonly kind: 'stream'; readonly input: StreamInput };

export interface BackupRequest {
  readonly volume: VolumeName;
  readonly source: BackupSource;
  readonly tags?: readonly string[];
  /** The cluster's name; this machine's without it. */
  readonly host?: string;
  readonly time?: Date;
  /** The backup to name as the one before; null for none, and the newest of the volume without it. */
  readonly parent?: Id | null;
  readonly compression?: Compression;
  /** Reads and compares, stores nothing. */
  readonly dryRun?: boolean;
}

export interface BackupPlan {
  readonly volume: VolumeName;
  readonly source: BackupSource;
  readonly format: VolumeFormat;
  readonly driver: string;
  readonly host: string;
  readonly tags: readonly string[];
  readonly time: string;
  readonly parent: Id | undefined;
  /** What a stream of changes has to fit; the parent, if that is an image. */
  readonly base?: BaseImage;
  /** What a stream that is kept as it is may build on: the parent's chain. */
  readonly chain?: ChainBase;
  readonly compression: Compression;
  readonly dryRun: boolean;
  /** Bytes of the volume; unknown for a stream. */
  readonly totalBytes: number | undefined;
}
export async function planBackup(repository: Repository, request: BackupRequest): Promise<BackupPlan> {
  const host = request.host ?? hostname();
  const { kind } = request.source;
  const format: VolumeFormat = kind === 'stream' || kind === 'zfs-stream' ? 'stream' : 'image';
  const driver = request.source.kind === 'image-file' ? 'file' : 'stdin';
  const parent =
    request.parent === null
      ? undefined
      : (request.parent ?? (await newestOf(repository, host, request.volume)));
  const base =
    parent !== undefined && (request.source.kind === 'zvol-stream' || request.source.kind === 'rbd-diff')
      ? await readBaseImage(repository, parent)
      : undefined;
  const chain =
    request.source.kind === 'zfs-stream' && parent !== undefined
      ? await readChainBase(repository, parent)
      : undefined;
  return {
    volume: request.volume,
    source: request.source,
    format,
    driver,
    host,
    tags: [
      `volume=${request.volume.namespace}/${request.volume.name}`,
      `driver=${driver}`,
      `format=${format}`,
      ...(request.tags ?? []),
    ],
    time: formatTime(request.time ?? new Date()),
    parent,
    ...(base && { base }),
    ...(chain && { chain }),
    compression: request.compression ?? 'auto',
    dryRun: request.dryRun ?? false,
    totalBytes: request.source.kind === 'image-file' ? sizeOfImage(request.source.path) : undefined,
  };
}

function sizeOfImage(path: string): number {
  const image = openImage(path);
  image.close();
  return image.bytes;
}

async function newestOf(repository: Repository, host: string, volume: VolumeName): Promise<Id | undefined> {
  const path = volumePath(volume);
  let newest: { id: Id; time: number } | undefined;
  for await (const { id, snapshot } of repository.snapshots({ onProblem: () => undefined })) {
    if (snapshot.hostname !== host || snapshot.paths.length !== 1 || snapshot.paths[0] !== path) continue;
    const time = epochMilliseconds(snapshot.time);
    if (newest === undefined || time > newest.time) newest = { id, time };
  }
  return newest?.id;
}
