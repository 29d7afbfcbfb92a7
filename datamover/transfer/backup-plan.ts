import { hostname } from 'node:os';
import type { Repository } from '../repository/repository.ts';
import type { StreamInput } from '../repository/saver/saver.ts';
import { formatTime } from '../repository/time.ts';
import type { Compression, Id } from '../repository/types.ts';
import type { ReadPlan, SourceVolume, VolumeDriver } from '../volumes/driver.ts';
import { FileDriver } from '../volumes/file/driver.ts';
import { earlierBackups, readBases, type EarlierBackup } from './base-backups.ts';
import { readBaseImage, type BaseImage } from './fed-image.ts';
import type { VolumeFormat, VolumeName } from './layout.ts';
import { endedChain, readChainBase, type ChainBase } from './stream-chain.ts';

export type BackupSource =
  /** A volume's snapshot on a storage. */
  | {
      readonly kind: 'driver';
      readonly driver: VolumeDriver;
      readonly location: string;
      /** What `identify` gives, where it was asked before the repository was open. */
      readonly volume?: Promise<SourceVolume>;
    }
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

/** What comes through a pipe: nothing is known of it before it is read. */
export type PipedSource = Exclude<BackupSource, { kind: 'driver' }>;

/** A volume of a driver, and what is to be read of it. */
export interface DriverSource {
  readonly kind: 'driver';
  readonly driver: VolumeDriver;
  readonly read: ReadPlan;
}

/** An image file or a block device. */
export function imageFile(path: string): BackupSource {
  return { kind: 'driver', driver: new FileDriver(), location: path };
}

export interface BackupRequest {
  readonly volume: VolumeName;
  readonly source: BackupSource;
  readonly tags?: readonly string[];
  /** The cluster's name; this machine's without it. */
  readonly host?: string;
  readonly time?: Date;
  /** The backup to name as the one before; null for none, and the newest of the volume without it. */
  readonly parent?: Id | null;
  /** The only backup to build on; null for none. Without it a driver takes the newest that it can tell changes from. */
  readonly base?: Id | null;
  /** Of a chain of streams: with so many increments the next backup is full again. 30 without it. */
  readonly maxIncrements?: number;
  readonly compression?: Compression;
  /** How many unchanged cells of an incremental backup are compared with the source; see `sampleSize` without it. */
  readonly sample?: SampleRequest;
  /** Reads and compares, stores nothing. */
  readonly dryRun?: boolean;
}

export interface SampleRequest {
  readonly cells?: number;
  /** Chooses the same cells again; a new one is drawn without it. */
  readonly seed?: string;
}

export interface BackupPlan {
  readonly volume: VolumeName;
  readonly source: PipedSource | DriverSource;
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
  readonly sample: SampleRequest;
  readonly dryRun: boolean;
  /** Bytes of the volume; unknown for a stream. */
  readonly totalBytes: number | undefined;
}

export async function planBackup(
  repository: Repository,
  request: BackupRequest,
  signal?: AbortSignal,
): Promise<BackupPlan> {
  const host = request.host ?? hostname();
  const { volume } = request;
  const earlier = await earlierBackups(repository, host, volume);
  const source = await planSource(repository, request, earlier, signal);
  const read = source.kind === 'driver' ? source.read : undefined;
  const newest = request.base === null ? undefined : (request.base ?? earlier[0]?.id);
  const parent = read?.base?.snapshotId ?? (request.parent === null ? undefined : (request.parent ?? newest));
  const base =
    parent !== undefined && (source.kind === 'zvol-stream' || source.kind === 'rbd-diff')
      ? await readBaseImage(repository, parent)
      : undefined;
  const chain =
    source.kind === 'zfs-stream' && parent !== undefined
      ? await readChainBase(repository, parent, signal)
      : undefined;
  const piped = source.kind === 'stream' || source.kind === 'zfs-stream' ? 'stream' : 'image';
  const format = read?.source.format ?? piped;
  const driver = read?.source.driver ?? 'stdin';
  return {
    volume,
    source,
    format,
    driver,
    host,
    tags: [
      `volume=${volume.namespace}/${volume.name}`,
      `driver=${driver}`,
      `format=${format}`,
      ...(request.tags ?? []),
    ],
    time: formatTime(request.time ?? new Date()),
    parent,
    ...(base && { base }),
    ...(chain && { chain }),
    compression: request.compression ?? 'auto',
    sample: request.sample ?? {},
    dryRun: request.dryRun ?? false,
    totalBytes: read?.source.bytes,
  };
}

async function planSource(
  repository: Repository,
  { source, base, parent, maxIncrements }: BackupRequest,
  earlier: readonly EarlierBackup[],
  signal?: AbortSignal,
): Promise<BackupPlan['source']> {
  if (source.kind !== 'driver') return source;
  const { driver, location } = source;
  const volume = await (source.volume ?? driver.identify(location, signal));
  /** `based`: whether one of the backups can be built on, also where it is not to be. */
  const planned = async (
    backups: readonly EarlierBackup[],
    mustUse?: Id,
  ): Promise<{ readonly read: ReadPlan; readonly based: boolean }> => {
    const candidates = driver.readsWhole === true ? [] : backups;
    const bases = await readBases(repository, candidates, driver.name, volume.format, signal);
    const request = { bases, ...(mustUse !== undefined && { mustUse }) };
    const read = await driver.planRead(volume, request, signal);
    const based = read.base !== undefined;
    const ended =
      mustUse === undefined ? await endedChain(repository, read, maxIncrements, signal) : undefined;
    if (ended === undefined) return { read, based };
    const full = await driver.planRead(volume, { bases: [] }, signal);
    return { read: { ...full, changes: { ...full.changes, because: ended } }, based };
  };
  const chosen = async (): Promise<{ readonly read: ReadPlan }> => {
    if (base === null || parent === null) return planned([]);
    // It need not be of this host, nor among the newest.
    if (base !== undefined)
      return planned([{ id: base, snapshot: await repository.loadSnapshot(base, signal) }], base);
    // Nearly always it is the newest; what a backup says of itself takes some reads each.
    const [newest, ...others] = earlier;
    const last = await planned(newest === undefined ? [] : [newest]);
    return last.based || others.length === 0 ? last : planned(earlier);
  };
  return { kind: 'driver', driver, read: (await chosen()).read };
}
