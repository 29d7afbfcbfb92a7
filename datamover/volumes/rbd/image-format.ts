import type { DiffHandler, DiffHeader } from './diff-format.ts';

/**
 * The container of `rbd export --export-format 2`: a banner, records of the image (a tag of one byte, a u64 length, the data;
 * `E` alone ends them), a second banner, a u64 number of diffs and that many diffs of version 2: one per snap, the oldest first,
 * each from the one before, and one that leads to the image's head.
 *
 * | tag | record | |
 * |---|---|---|
 * | `O` | u64 | order: objects have 2^order bytes |
 * | `T` | u64 | features, a bit mask |
 * | `U` | u64 | stripe unit in bytes |
 * | `C` | u64 | stripe count |
 * | `M` | string, string | a key of image-meta and its value |
 * | `E` | | no more of them |
 */
export const IMAGE_BANNER = 'rbd image v2\n';
export const DIFFS_BANNER = 'rbd image diffs v2\n';

export interface ImageHeader {
  /** Objects have 2^order bytes. */
  readonly order: number;
  readonly features: number;
  /** Bytes; undefined where the stream does not tell. */
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
  /** What `rbd image-meta` lists, in the stream's order. */
  readonly metadata: ReadonlyMap<string, string>;
  /** How many diffs follow: the image's snaps and its head. */
  readonly diffs: number;
}

export interface ImageHandler {
  begin(header: ImageHeader): void;
  /** Receives diff `index`, the first being 0; called when the one before has ended. */
  diff(index: number): DiffHandler;
  end(): void;
}

/** Ceph takes objects of 4 KiB to 32 MiB. */
export const ORDERS = { least: 12, most: 25 } as const;
/** No stream of a real image comes near it; a flipped bit in a length shall not make us wait for gigabytes. */
export const MAX_METADATA_BYTES = 2 ** 24;

/** What is wrong with a diff as the next of a chain that has come to `base`. */
export function chainFault(header: DiffHeader, base: string | undefined, last: boolean): string | undefined {
  const said = (snap: string | undefined): string => (snap === undefined ? 'nothing' : JSON.stringify(snap));
  if (header.version !== 2) return 'a diff of version 1 in an export of format 2';
  if (header.fromSnap !== base) return `it starts from ${said(header.fromSnap)}, not from ${said(base)}`;
  if ((header.toSnap === undefined) !== last)
    return last ? 'the last diff leads to a snap, not to the head' : 'it leads to no snap';
  return undefined;
}
