import type { BaseBackup } from '../driver.ts';
import type { RbdSnap } from './image.ts';
import { recordedSnap, type Moment } from './record.ts';

/** What changes can be told from, or why they cannot. */
export type BaseChoice =
  | {
      readonly base: BaseBackup;
      /** May be the source itself: then nothing has changed. */
      readonly from: RbdSnap;
      readonly because?: string;
    }
  | { readonly base: undefined; readonly because: string };

/**
 * The newest backup whose snap the image still has under its name: by id, since a name is used again. `bases`: the newest first.
 */
export function chooseBase(
  bases: readonly BaseBackup[],
  snaps: readonly RbdSnap[],
  source: Moment,
): BaseChoice {
  let because: string | undefined;
  for (const base of bases) {
    const from = usable(base, snaps, source);
    if (typeof from !== 'string') return { base, from, ...(because !== undefined && { because }) };
    because ??= from;
  }
  return { base: undefined, because: because ?? 'the volume has no backup yet' };
}

function usable(base: BaseBackup, snaps: readonly RbdSnap[], source: Moment): RbdSnap | string {
  const backup = `backup ${base.snapshotId.slice(0, 8)}`;
  const recorded = recordedSnap(base);
  if (recorded === undefined) return `${backup} does not know of which snap of which image it is`;
  const { imageId, snapId, name } = recorded;
  if (imageId !== source.imageId) return `${backup} is of another image (${name.image}, id ${imageId})`;
  if (snapId > source.snapId) return `${backup} is of a later snap`;
  const from = snaps.find(({ id }) => id === snapId);
  if (from === undefined) return `the snap ${name.snap} (id ${snapId}) of ${backup} is gone`;
  if (from.kind !== 'user')
    return `the snap ${name.snap} (id ${snapId}) of ${backup} was deleted and lives on in the trash for its clones`;
  if (from.bytes !== base.bytes)
    return `${backup} has ${base.bytes} bytes and its snap ${name.snap} ${from.bytes}`;
  return from;
}
