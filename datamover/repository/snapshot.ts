import {
  arrayField,
  countField,
  encodeDocument,
  idField,
  malformed,
  parseDocument,
  stringField,
  stringsField,
} from './document.ts';
import { parseTime } from './time.ts';
import type { Id } from './types.ts';

/**
 * A snapshot file: one backup. Decoding keeps fields that we do not know in the object, so `{ ...snapshot, tags }` written back
 * loses nothing of what restic, rustic or a later version put there.
 */
export interface Snapshot {
  /** RFC 3339, as written. */
  readonly time: string;
  /** The root tree. */
  readonly tree: Id;
  readonly paths: readonly string[];
  readonly hostname?: string;
  readonly username?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly tags?: readonly string[];
  readonly excludes?: readonly string[];
  /** The snapshot that the backup was compared with. */
  readonly parent?: Id;
  /** The first of the snapshots that this one was rewritten from. */
  readonly original?: Id;
  readonly program_version?: string;
  readonly summary?: SnapshotSummary;
}

/** What a backup did, in restic's words (0.17 and later) and bytes. */
export interface SnapshotSummary {
  readonly backup_start: string;
  readonly backup_end: string;
  readonly files_new: number;
  readonly files_changed: number;
  readonly files_unmodified: number;
  readonly dirs_new: number;
  readonly dirs_changed: number;
  readonly dirs_unmodified: number;
  readonly data_blobs: number;
  readonly tree_blobs: number;
  readonly data_added: number;
  /** What of `data_added` the store had to take, after compression. */
  readonly data_added_packed: number;
  readonly total_files_processed: number;
  readonly total_bytes_processed: number;
}

const OPTIONAL_STRINGS = ['hostname', 'username', 'program_version'] as const;
const OPTIONAL_NUMBERS = ['uid', 'gid'] as const;
const OPTIONAL_IDS = ['parent', 'original'] as const;
const OPTIONAL_LISTS = ['tags', 'excludes'] as const;
const OPTIONAL = [
  ...OPTIONAL_STRINGS,
  ...OPTIONAL_NUMBERS,
  ...OPTIONAL_IDS,
  ...OPTIONAL_LISTS,
  'summary',
] as const;

/** The JSON of a snapshot, restic's fields in restic's order, unknown ones behind them. */
export function encodeSnapshot(snapshot: Snapshot): Uint8Array<ArrayBuffer> {
  const {
    time,
    parent,
    tree,
    paths,
    hostname,
    username,
    uid,
    gid,
    excludes,
    tags,
    original,
    program_version,
    ...rest
  } = snapshot;
  return encodeDocument({
    time,
    parent,
    tree,
    paths,
    hostname,
    username,
    uid,
    gid,
    excludes: excludes?.length ? excludes : undefined,
    tags: tags?.length ? tags : undefined,
    original,
    program_version,
    ...rest,
  });
}

/**
 * A snapshot with other metadata, to be saved in the place of `id`. Its `original` is the first of the line, and stays so.
 */
export function rewriteSnapshot(id: Id, snapshot: Snapshot, changes: Partial<Snapshot>): Snapshot {
  return { ...snapshot, ...changes, original: snapshot.original ?? id };
}

export function decodeSnapshot(json: Uint8Array, subject: string): Snapshot {
  const document = parseDocument(json, subject);
  idField(document, 'tree', subject);
  if (parseTime(stringField(document, 'time', subject)) === undefined) {
    throw malformed(subject, 'field time is not an RFC 3339 time');
  }
  // Others write `null` for what they do not know: for us it is not there.
  for (const name of OPTIONAL) if (document[name] === null) Reflect.deleteProperty(document, name);
  for (const name of OPTIONAL_STRINGS) if (name in document) stringField(document, name, subject);
  for (const name of OPTIONAL_NUMBERS) if (name in document) countField(document, name, subject);
  for (const name of OPTIONAL_LISTS) if (name in document) stringsField(document, name, subject);
  for (const name of OPTIONAL_IDS) if (name in document) idField(document, name, subject);
  stringsField(document, 'paths', subject);
  // Go writes `null` for a list without elements.
  document['paths'] = arrayField(document, 'paths', subject);
  return document as unknown as Snapshot;
}
