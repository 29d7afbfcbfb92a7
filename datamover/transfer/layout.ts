import { DatamoverError } from '../errors.ts';
import type { Id } from '../repository/types.ts';
import type { ChangeKnowledge } from '../volumes/driver.ts';

/**
 * How a volume lies in a snapshot (docs/format.md, "Volumes"):
 *
 *     /volume.json                    VolumeRecord
 *     /image/000000/data, 000001/…    block volumes: segments of 1 GiB, cut into blobs of 1 MiB on the grid
 *     /streams/0000-<guid>/records    send streams, in the order in which they are received: headers and small payloads, and
 *     /streams/0000-<guid>/blocks, …  beside them the blocks, cut by content
 *     /streams/0000-<id>/send         a stream that nobody looked into, cut by content; in old backups send streams, too
 *
 * Beside `data` and `send` lies `fingerprints` where there are some: 16 bytes for each of their blobs.
 * Each segment and each stream has a folder of its own, so that its tree is shared by every snapshot that has the same one.
 */
export const SEGMENT_BYTES = 1 << 30;
export const CELLS_PER_SEGMENT = 1024;

export const VOLUME_FILE = 'volume.json';
export const IMAGE_FOLDER = 'image';
export const STREAMS_FOLDER = 'streams';
export const SEGMENT_FILE = 'data';
export const STREAM_FILE = 'send';
export const RECORDS_FILE = 'records';
export const BLOCKS_FILE = 'blocks';
export const FINGERPRINTS_FILE = 'fingerprints';

export type VolumeFormat = 'image' | 'stream';

export interface VolumeName {
  readonly namespace: string;
  readonly name: string;
}

/** `/volume.json`: all that is needed to make the volume again. Readers refuse a higher schema and skip unknown fields. */
export interface VolumeRecord {
  readonly schema: 1;
  readonly volume: VolumeName;
  readonly format: VolumeFormat;
  /** What read the volume: `file`, `stdin`, `zfs`, `rbd`. */
  readonly driver: string;
  /** Bytes of the image, or of all streams together. */
  readonly bytes: number;
  readonly image?: { readonly segmentBytes: number; readonly blobBytes: number };
  /** In the order in which they are received. */
  readonly streams?: readonly StreamRecord[];
  /** How a driver knew what to read. */
  readonly changes?: ChangeKnowledge;
  /** What a driver said of changes first, and was found wrong: then everything was read. */
  readonly distrusted?: {
    readonly mechanism: ChangeKnowledge['mechanism'];
    /** The restic snapshot that the changes were said to build on. */
    readonly base: Id;
    /** The first byte of a cell that was said to be unchanged and was not. */
    readonly differsAt: number;
  };
  /**
   * Under a driver's name what it told of the volume: its identity, and properties to make it again. `zfs` and `rbd` have more
   * fields than those that streams give, which are named here.
   */
  readonly file?: Readonly<Record<string, unknown>>;
  /** Of an image that a zvol's send stream gave: what an increment must build on. Guids are decimal. */
  readonly zfs?: {
    readonly guid: string;
    /** Of the snapshot that the stream built on; absent after a full one. */
    readonly fromGuid?: string;
    /** `pool/volume@snapshot`, where it was sent. */
    readonly snapshot: string;
    readonly volblocksize?: number;
  };
  /** Of an image that a diff of Ceph gave. */
  readonly rbd?: {
    /** The snap that the diff led to and that an increment must build on; absent after a diff to an image's head. */
    readonly snap?: string;
    /** The snap that it started from; absent after a full one. */
    readonly fromSnap?: string;
  };
}

/** One folder of `streams`. */
export interface StreamRecord {
  readonly folder: string;
  readonly bytes: number;
  /** Of a ZFS send stream whose records were read: who it is. Guids are decimal. */
  readonly zfs?: {
    readonly guid: string;
    /** Of the snapshot that the stream builds on; absent after a full one. */
    readonly fromGuid?: string;
    /** `pool/dataset@snapshot`, where it was sent. */
    readonly snapshot: string;
    readonly content: 'filesystem' | 'zvol';
    /** When the snapshot was made, RFC 3339. */
    readonly created?: string;
    /** What the stream needs of its receiver; `raw` is one that stays encrypted. */
    readonly features: readonly string[];
    /** Of a full stream that was merged from others in the repository: how many. */
    readonly merged?: number;
  };
}

export function segmentName(segment: number): string {
  return String(segment).padStart(6, '0');
}

export function streamFolder(position: number, guid: string): string {
  return `${String(position).padStart(4, '0')}-${guid}`;
}

/** The path of a volume's backups, by which restic groups them. */
export function volumePath({ namespace, name }: VolumeName): string {
  return `/${namespace}/${name}`;
}

const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

/** Parses `NAMESPACE/NAME`. Both must be names that Kubernetes could give. */
export function parseVolumeName(text: string): VolumeName {
  const [namespace, name, ...rest] = text.split('/');
  if (
    namespace === undefined ||
    name === undefined ||
    rest.length > 0 ||
    !NAME.test(namespace) ||
    !NAME.test(name)
  ) {
    throw new DatamoverError({
      operation: 'read volume name',
      subject: JSON.stringify(text),
      cause: 'it is not of the form NAMESPACE/NAME',
      hint: 'letters, digits, dots, dashes and underscores, for example shop/database',
      kind: 'usage',
    });
  }
  return { namespace, name };
}

export function encodeVolumeRecord(record: VolumeRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`);
}

export function decodeVolumeRecord(json: Uint8Array, snapshot: Id): VolumeRecord {
  const unreadable = (cause: unknown, hint?: string): DatamoverError =>
    new DatamoverError({
      operation: 'read volume.json of snapshot',
      subject: snapshot.slice(0, 8),
      cause,
      ...(hint ? { hint } : {}),
    });
  let record: Partial<Record<keyof VolumeRecord, unknown>>;
  try {
    const value: unknown = JSON.parse(Buffer.from(json).toString('utf8'));
    record = typeof value === 'object' && value !== null ? value : {};
  } catch (error) {
    throw unreadable(error);
  }
  const { schema, format, bytes, volume, driver } = record;
  if (typeof schema === 'number' && schema > 1) {
    throw unreadable(`its schema is ${schema}, this program knows 1`, 'use a newer datamover');
  }
  const { namespace, name } =
    typeof volume === 'object' && volume !== null
      ? (volume as Partial<Record<keyof VolumeName, unknown>>)
      : {};
  if (
    schema !== 1 ||
    (format !== 'image' && format !== 'stream') ||
    !Number.isSafeInteger(bytes) ||
    Number(bytes) < 0 ||
    typeof namespace !== 'string' ||
    typeof name !== 'string' ||
    typeof driver !== 'string'
  ) {
    throw unreadable('a field is missing or of the wrong kind');
  }
  return record as VolumeRecord;
}
