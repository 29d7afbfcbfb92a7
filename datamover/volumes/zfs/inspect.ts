import { DatamoverError } from '../../errors.ts';
import { askZfs } from './command.ts';
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
  const properties = await ask(name, operation, signal).catch((error: unknown) => {
    if (error instanceof DatamoverError && error.message.includes('dataset does not exist')) return undefined;
    throw error;
  });
  if (properties === undefined) return undefined;
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

export function number(properties: Dataset['properties'], name: string): number | undefined {
  const value = Number(text(properties, name));
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The snapshot's own properties: guid, createtxg, volsize at its time, and so on. */
export async function readSnapshot(
  { dataset, snapshot }: Required<ZfsName>,
  signal?: AbortSignal,
): Promise<Dataset['properties']> {
  return ask(`${dataset}@${snapshot}`, 'look at ZFS snapshot', signal);
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

async function ask(
  name: string,
  operation: string,
  signal?: AbortSignal,
): Promise<Map<string, PropertyValue>> {
  const rows = await askZfs({
    operation,
    subject: name,
    args: ['get', '-Hp', '-o', 'property,value,source', ASKED.join(','), name],
    ...(signal !== undefined && { signal }),
  });
  return new Map(
    rows.map(([property = '', value = '', source = '']) => [
      property,
      // "inherited from tank/folder"
      { value, source: source === '-' ? 'none' : (source.split(' ')[0] ?? source) },
    ]),
  );
}
