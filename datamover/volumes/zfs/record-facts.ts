import { DatamoverError } from '../../errors.ts';
import { KEPT_PROPERTIES, number, text, type Dataset, type PropertyValue } from './inspect.ts';
import { isGuid } from './name.ts';

/** What `volume.json` keeps of a ZFS snapshot, under `zfs`: its identity, and what is needed to make the volume again. */
export interface ZfsRecord {
  /** Decimal, as `createtxg`. */
  readonly guid: string;
  readonly createtxg: string;
  /** `pool/volume@snapshot`, where it was sent. */
  readonly snapshot: string;
  readonly type: 'filesystem' | 'volume';
  /** When the snapshot was made, RFC 3339. */
  readonly created: string;
  /** What the snapshot takes in its pool. */
  readonly referencedBytes: number;
  readonly volblocksize?: number;
  /** Of a volume: space is reserved for all of it. */
  readonly thick?: boolean;
  /** It was sent encrypted as it lies on disk: only such increments fit. */
  readonly raw?: true;
  readonly properties: Readonly<Record<string, PropertyValue>>;
}

export function recordOf(
  snapshot: string,
  own: Dataset['properties'],
  volume: Dataset,
  raw: boolean,
): ZfsRecord & Record<string, unknown> {
  const [guid, createtxg] = [text(own, 'guid'), text(own, 'createtxg')];
  if (!isGuid(guid) || createtxg === undefined) {
    throw new DatamoverError({
      operation: 'read guid of',
      subject: snapshot,
      cause: `zfs gave ${guid ?? ''}`,
    });
  }
  const kept = KEPT_PROPERTIES.flatMap((name) => {
    const property = volume.properties.get(name);
    return property === undefined || property.value === '-' ? [] : [[name, property] as const];
  });
  const volblocksize = number(volume.properties, 'volblocksize');
  const reserved = number(volume.properties, 'refreservation') ?? 0;
  return {
    guid,
    createtxg,
    snapshot,
    type: volume.type,
    created: new Date((number(own, 'creation') ?? 0) * 1000).toISOString(),
    referencedBytes: number(own, 'referenced') ?? 0,
    ...(volblocksize !== undefined && { volblocksize }),
    ...(volume.type === 'volume' && {
      thick: reserved >= (number(volume.properties, 'volsize') ?? Infinity),
    }),
    ...(raw && { raw: true as const }),
    properties: Object.fromEntries(kept),
  };
}

/** A field of a record that comes out of a repository: anything may be there. */
export function fieldOf(record: unknown, name: string): unknown {
  return typeof record === 'object' && record !== null
    ? (record as Partial<Record<string, unknown>>)[name]
    : undefined;
}
