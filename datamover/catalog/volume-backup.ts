import type { Snapshot } from '../repository/snapshot.ts';
import type { Id } from '../repository/types.ts';

/** How a volume lies in its snapshot: as an image on the grid, as streams, or `files` where the snapshot is not ours. */
export type VolumeFormat = 'image' | 'stream' | 'files';

/** One backup of one volume, as lists show it. */
export interface VolumeBackup {
  readonly id: Id;
  /** The first eight digits, as restic shows them. */
  readonly shortId: string;
  /** RFC 3339 with the zone of whoever made it. */
  readonly time: string;
  /** Both undefined where a foreign snapshot names no volume. */
  readonly namespace?: string;
  readonly name?: string;
  readonly format: VolumeFormat;
  /** Bytes of the volume, or of the streams; undefined where the snapshot file does not say: then volume.json does. */
  readonly size?: number;
  readonly driver?: string;
  readonly tags: readonly string[];
  readonly host?: string;
  readonly paths: readonly string[];
  readonly tree: Id;
  readonly parent?: Id;
  /** RFC 3339; when its making ended. Of a rewritten one later than of the one whose time it has. */
  readonly ended?: string;
}

/** The fields of a snapshot that the catalogue reads; the rest of the summary differs between programs. */
export type SnapshotFacts = Pick<Snapshot, 'time' | 'tree' | 'parent' | 'paths' | 'hostname' | 'tags'> & {
  readonly summary?: {
    readonly total_bytes_processed?: number;
    readonly total_files_processed?: number;
    readonly backup_end?: string;
  };
};

const OUR_TAGS = ['volume', 'driver', 'format'] as const;

/** Reads a snapshot as a volume backup. Snapshots of restic itself are listed too, without a volume. */
export function describeSnapshot(id: Id, snapshot: SnapshotFacts): VolumeBackup {
  const tags = snapshot.tags ?? [];
  const tagged = (key: string): string | undefined =>
    tags.find((tag) => tag.startsWith(`${key}=`))?.slice(key.length + 1);
  const format = tagged('format');
  const [namespace, name] = volumeOf(tagged('volume'), snapshot.paths, format) ?? [];
  const driver = tagged('driver');
  const size = sizeOf(snapshot, format);
  return {
    id,
    shortId: id.slice(0, 8),
    time: snapshot.time,
    ...(namespace === undefined || name === undefined ? {} : { namespace, name }),
    format: format === 'image' || format === 'stream' ? format : 'files',
    ...(size === undefined ? {} : { size }),
    ...(driver === undefined ? {} : { driver }),
    tags,
    ...(snapshot.hostname === undefined || snapshot.hostname === '' ? {} : { host: snapshot.hostname }),
    paths: snapshot.paths,
    tree: snapshot.tree,
    ...(snapshot.parent === undefined ? {} : { parent: snapshot.parent }),
    ...(snapshot.summary?.backup_end === undefined ? {} : { ended: snapshot.summary.backup_end }),
  };
}

/** We count the volume as one file. After `restic rewrite` the summary counts volume.json too, and no longer tells the volume's size. */
function sizeOf({ summary }: SnapshotFacts, format: string | undefined): number | undefined {
  const counted = format === undefined || (summary?.total_files_processed ?? 1) === 1;
  return counted ? summary?.total_bytes_processed : undefined;
}

/** `namespace/name`, or undefined where the snapshot is of no volume. */
export function volumeName(backup: Pick<VolumeBackup, 'namespace' | 'name'>): string | undefined {
  return backup.namespace === undefined || backup.name === undefined
    ? undefined
    : `${backup.namespace}/${backup.name}`;
}

/** The tags that a person gave; `volume=`, `driver=` and `format=` are ours and shown as fields. */
export function ownTags(backup: Pick<VolumeBackup, 'tags'>): readonly string[] {
  return backup.tags.filter((tag) => !OUR_TAGS.some((key) => tag.startsWith(`${key}=`)));
}

/** The tag names the volume; where somebody rewrote the tags, the only path still does (`/namespace/name`). */
function volumeOf(
  tag: string | undefined,
  paths: readonly string[],
  format: string | undefined,
): [string, string] | undefined {
  const path = paths.length === 1 && format !== undefined ? paths[0] : undefined;
  const [, namespace, name] = /^\/?([^/]+)\/([^/]+)$/.exec(tag ?? path ?? '') ?? [];
  return namespace === undefined || name === undefined ? undefined : [namespace, name];
}
