import { runZfs } from './command.ts';
import type { Moment } from './inspect.ts';

/** Of ours on each volume: more than one, for backups into several repositories build on different ones. */
const KEPT = 8;
const MARK = '#datamover-';

/** The bookmark of ours for a snapshot of this dataset. Its guid is in the name: one of another snapshot never has the same. */
export function bookmarkName(dataset: string, guid: string): string {
  return `${dataset}${MARK}${guid}`;
}

/**
 * Bookmarks a snapshot, so that it may be destroyed and increments can still be sent from it; then removes the oldest bookmarks
 * of ours. `moments`: the dataset's, the oldest first. One that is there already is moved by nobody.
 */
export async function keepBookmark(
  dataset: string,
  snapshot: string,
  guid: string,
  moments: readonly Moment[],
): Promise<void> {
  const name = bookmarkName(dataset, guid);
  if (!moments.some((moment) => moment.name === name)) {
    await runZfs({
      operation: 'bookmark ZFS snapshot',
      subject: snapshot,
      args: ['bookmark', snapshot, name],
    });
  }
  const others = moments.filter(
    (moment) => moment.name.startsWith(`${dataset}${MARK}`) && moment.name !== name,
  );
  for (const { name: old } of others.slice(0, Math.max(0, others.length - (KEPT - 1)))) {
    await runZfs({ operation: 'remove ZFS bookmark', subject: old, args: ['destroy', old] });
  }
}
