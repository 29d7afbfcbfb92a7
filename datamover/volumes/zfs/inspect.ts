import { DatamoverError } from '../../errors.ts';
import { commandFailure } from '../../process/spawn.ts';
import { askZfs, tableOf } from './command.ts';
import { isGuid, type ZfsName } from './name.ts';

/** Properties that are kept with a backup, and set again where they were set by somebody. */
export const KEPT_PROPERTIES = [
  ...[
    'volblocksize',
    'recordsize',
    'compression',
    'checksum',
    'copies',
    'dedup',
    'xattr',
    'acltype',
    'atime',
  ],
  ...['quota', 'refquota', 'reservation', 'refreservation', 'logbias', 'primarycache', 'sync', 'snapdev'],
] as const;

/** A user property: a restore is making this dataset; its value says who, and since when. */
export const RESTORING = 'datamover.io:restoring';

/**
 * A user property: a restore receives streams into this dataset, and is not done; its value is the guid of the last one. Unlike
 * what is half made, a half received dataset goes on: a clean-up leaves it.
 */
export const RECEIVING = 'datamover.io:receiving';

export interface PropertyValue {
  /** As `zfs get -p` prints it: numbers are plain. */
  readonly value: string;
  /** `local`, `received`, `inherited`, `default`; `none` for what nobody can set. */
  readonly source: string;
}

/** What ZFS tells of a filesystem or volume. */
export interface Dataset {
  readonly name: string;
  readonly type: 'filesystem' | 'volume';
  readonly properties: ReadonlyMap<string, PropertyValue>;
}

/** A snapshot, or a bookmark of one that may be gone. */
export interface Moment {
  /** With the dataset: `tank/db@monday`, `tank/db#monday`. */
  readonly name: string;
  readonly kind: 'snapshot' | 'bookmark';
  /** The snapshot's, decimal; a bookmark has its snapshot's. */
  readonly guid: string;
  /** The transaction group in which the snapshot was made; ascends with time within a pool. */
  readonly createtxg: bigint;
}

const ASKED = [
  ...['type', 'guid', 'createtxg', 'creation', 'volsize', 'available', 'referenced', 'used'],
  ...[
    'logicalreferenced',
    'encryption',
    'keystatus',
    'origin',
    'mounted',
    'readonly',
    'receive_resume_token',
    'written',
    RESTORING,
    RECEIVING,
    ...KEPT_PROPERTIES,
  ],
];

/** What there is under this name; undefined where there is nothing. `operation` is for messages. */
export async function findDataset(
  name: string,
  operation: string,
  signal?: AbortSignal,
): Promise<Dataset | undefined> {
  const properties = (
    await ask([name], operation, signal).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    })
  )?.get(name);
  return properties && datasetOf(name, properties, operation);
}

/** Whether `zfs` said that something it was asked about is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof DatamoverError && error.message.includes('dataset does not exist');
}

function datasetOf(name: string, properties: Dataset['properties'], operation: string): Dataset {
  const type = properties.get('type')?.value;
  if (type !== 'filesystem' && type !== 'volume') {
    throw new DatamoverError({ operation, subject: name, cause: `it is a ${type ?? 'thing unknown to us'}` });
  }
  return { name, type, properties };
}

/** A property's value; undefined where it does not apply (`-`, `none`). */
export function text(properties: Dataset['properties'], name: string): string | undefined {
  const value = properties.get(name)?.value;
  return value === undefined || value === '-' || value === 'none' ? undefined : value;
}

/** The restore that is making the dataset, or was: its property RESTORING, where it is its own and came with no stream. */
export function restoringOf(properties: Dataset['properties']): string | undefined {
  return properties.get(RESTORING)?.source === 'local' ? text(properties, RESTORING) : undefined;
}

export function number(properties: Dataset['properties'], name: string): number | undefined {
  const value = Number(text(properties, name));
  return Number.isSafeInteger(value) ? value : undefined;
}

/**
 * A snapshot and what it is of; undefined where there is no such dataset. The snapshot's own properties are its guid, createtxg,
 * volsize at its time, and so on. Each command costs more than its answer: both are asked at once.
 */
export async function findSnapshot(
  { dataset, snapshot }: Required<ZfsName>,
  operation: string,
  signal?: AbortSignal,
): Promise<{ volume: Dataset; own: Dataset['properties'] } | undefined> {
  const name = `${dataset}@${snapshot}`;
  const found = await ask([dataset, name], operation, signal).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  const [properties, own] = [found?.get(dataset), found?.get(name)];
  if (properties !== undefined && own !== undefined)
    return { volume: datasetOf(dataset, properties, operation), own };
  // One of them is missing: asked alone, each has a message of its own.
  const volume = await findDataset(dataset, operation, signal);
  if (volume === undefined) return undefined;
  const alone = await ask([name], 'look at ZFS snapshot', signal);
  return { volume, own: alone.get(name) ?? new Map<never, never>() };
}

/** What is said of a snapshot that is not there, and of a bookmark. */
const GONE = /dataset does not exist|no such pool or dataset/;

/** The guids of those snapshots and bookmarks that are there. */
export async function readGuids(
  names: readonly string[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const rows = await askZfs({
    operation: 'read guids of',
    subject: names.join(' and '),
    args: ['get', '-Hp', '-o', 'name,value', 'guid', ...names],
    ...(signal !== undefined && { signal }),
  }).catch((error: unknown) => {
    const failure = commandFailure(error);
    if (failure === undefined || !GONE.test(failure.stderr)) throw error;
    // It tells of the others all the same.
    return tableOf(failure.stdout);
  });
  return new Map(rows.map(([name = '', guid = '']) => [name, guid]));
}

/** All snapshots and bookmarks of a dataset, the oldest first. */
export async function listMoments(dataset: string, signal?: AbortSignal): Promise<Moment[]> {
  const rows = await askZfs({
    operation: 'list snapshots of ZFS volume',
    subject: dataset,
    args: ['list', '-Hp', '-d', '1', '-t', 'snapshot,bookmark', '-o', 'name,guid,createtxg', dataset],
    ...(signal !== undefined && { signal }),
  });
  const moments = rows.map(([name = '', guid, createtxg]): Moment => {
    if (!isGuid(guid) || createtxg === undefined || !/^\d+$/.test(createtxg)) {
      throw new DatamoverError({ operation: 'read guid of', subject: name, cause: `zfs gave ${guid ?? ''}` });
    }
    return { name, kind: name.includes('@') ? 'snapshot' : 'bookmark', guid, createtxg: BigInt(createtxg) };
  });
  return moments.sort((a, b) => Number(a.createtxg - b.createtxg));
}

/** The properties of each. */
async function ask(
  names: readonly string[],
  operation: string,
  signal?: AbortSignal,
): Promise<Map<string, Map<string, PropertyValue>>> {
  const rows = await askZfs({
    operation,
    subject: names.at(-1) ?? '',
    args: ['get', '-Hp', '-o', 'name,property,value,source', ASKED.join(','), ...names],
    ...(signal !== undefined && { signal }),
  });
  const found = new Map<string, Map<string, PropertyValue>>();
  for (const [name = '', property = '', value = '', source = ''] of rows) {
    const properties = found.get(name) ?? new Map<string, PropertyValue>();
    found.set(name, properties);
    // "inherited from tank/folder"
    properties.set(property, { value, source: source === '-' ? 'none' : (source.split(' ')[0] ?? source) });
  }
  return found;
}
