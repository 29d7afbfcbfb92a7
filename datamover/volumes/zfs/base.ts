import type { BaseBackup } from '../driver.ts';
import type { Moment } from './inspect.ts';
import { isGuid } from './name.ts';

/** What an increment can be sent from, or why nothing can. */
export type BaseChoice =
  | { readonly base: BaseBackup; readonly from: Moment; readonly because?: string }
  | { readonly base: undefined; readonly because: string };

/**
 * The newest backup whose snapshot the dataset still knows: by guid, since names are used again, as a snapshot or else as a
 * bookmark of it, and made before the snapshot that is to be sent. `bases`: the newest first.
 */
export function chooseBase(
  bases: readonly BaseBackup[],
  moments: readonly Moment[],
  source: { readonly guid: string; readonly createtxg: bigint },
): BaseChoice {
  let because: string | undefined;
  for (const base of bases) {
    const from = usable(base, moments, source);
    if (typeof from !== 'string') return { base, from, ...(because !== undefined && { because }) };
    because ??= from;
  }
  return { base: undefined, because: because ?? 'the volume has no backup yet' };
}

function usable(
  { snapshotId, record }: BaseBackup,
  moments: readonly Moment[],
  source: { readonly guid: string; readonly createtxg: bigint },
): Moment | string {
  const backup = `backup ${snapshotId.slice(0, 8)}`;
  const guid = guidOf(record);
  if (guid === undefined) return `${backup} does not know of which ZFS snapshot it is`;
  if (guid === source.guid) return `${backup} is of this very snapshot`;
  const known = moments.filter((moment) => moment.guid === guid);
  const from = known.find(({ kind }) => kind === 'snapshot') ?? known[0];
  if (from === undefined)
    return `the snapshot of ${backup} (guid ${guid}) is gone, and no bookmark of it is left`;
  return from.createtxg < source.createtxg ? from : `${backup} is of a later snapshot`;
}

/** From a record that comes out of a repository: anything may be there. */
function guidOf(record: unknown): string | undefined {
  if (typeof record !== 'object' || record === null || !('guid' in record)) return undefined;
  return isGuid(record.guid) ? record.guid : undefined;
}
