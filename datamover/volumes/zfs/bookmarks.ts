import { runZfs } from './command.ts';
import { listMoments, type Moment } from './inspect.ts';

/** Of ours on each volume: more than one, for backups into several repositories build on different ones. */
const KEPT = 8;
const MARK = '#datamover-';

/** The bookmark of ours for a snapshot of this dataset. Its guid is in the name: one of another snapshot never has the same. */
function bookmarkName(dataset: string, guid: string): string {
  return `${dataset}${MARK}${guid}`;
}

/** Of a dataset's moments. */
export function ourBookmarks(dataset: string, moments: readonly Moment[]): string[] {
  return moments.flatMap(({ name }) => (name.startsWith(`${dataset}${MARK}`) ? [name] : []));
}

/**
 * Bookmarks a snapshot, so that it may be destroyed and increments can still be sent from it, and removes the oldest bookmarks of
 * ours. `known`: those that there were a while ago, the oldest first. One that is there already is moved by nobody.
 */
export async function keepBookmark(
  dataset: string,
  snapshot: string,
  guid: string,
  known: readonly string[],
): Promise<void> {
  const name = bookmarkName(dataset, guid);
  // Another backup may have taken it away since as one of the oldest.
  const there = known.includes(name) ? ourBookmarks(dataset, await listMoments(dataset)) : known;
  const others = there.filter((other) => other !== name);
  const old = others.slice(0, Math.max(0, others.length - (KEPT - 1)));
  // Before anything goes: another repository may build on what is old here.
  if (!there.includes(name)) await makeBookmark(dataset, snapshot, guid);
  const done = await Promise.allSettled(old.map((other) => removeBookmark(dataset, other)));
  for (const result of done) if (result.status === 'rejected') throw result.reason;
}

async function makeBookmark(dataset: string, snapshot: string, guid: string): Promise<void> {
  const name = bookmarkName(dataset, guid);
  const make = async (of: string): Promise<unknown> =>
    runZfs({ operation: 'bookmark ZFS snapshot', subject: of, args: ['bookmark', of, name] });
  await make(snapshot).catch(async (error: unknown) => {
    const moments = await listMoments(dataset);
    // Another backup of the same snapshot was quicker.
    if (moments.some((moment) => moment.name === name)) return;
    const renamed = moments.find((moment) => moment.kind === 'snapshot' && moment.guid === guid);
    if (renamed === undefined || renamed.name === snapshot) throw error;
    await make(renamed.name);
  });
}

async function removeBookmark(dataset: string, name: string): Promise<void> {
  const request = { operation: 'remove ZFS bookmark', subject: name };
  await runZfs({ ...request, args: ['destroy', name] }).catch(async (error: unknown) => {
    const moments = await listMoments(dataset);
    if (moments.some((moment) => moment.name === name)) throw error;
  });
}
