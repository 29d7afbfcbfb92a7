import { randomBytes } from 'node:crypto';
import { fateOf, ownerName, type Fate } from '../../process/owner.ts';
import type { Cluster } from './cluster.ts';
import { checkImageName, formatImageName, withoutSnap, type ImageName } from './image-name.ts';
import { isErrnoOf } from './librbd-error.ts';
import type { OpenImage } from './open-image.ts';
import type { PinnedSnap } from './read-job.ts';

/**
 * Snaps are kept by protecting them: then Ceph refuses to delete them, and ceph-csi asks again later. A flag does not count, so
 * each hold leaves a mark, in the image-meta of the image that is read:
 *
 *     datamover.hold.<owner>.<random>   {"since": epoch ms, anew every hour, "snaps": [those that we protect], "letGo": true while it ends}
 *
 * A snap that somebody else protected has no mark and stays as it is. A user without the right to write holds nothing; the
 * ids that are compared after the read (verify.ts) decide in any case. The owner is the process that talks to Ceph: when the
 * transfer dies it lets go, and when both do the next clean-up finds it gone.
 */
interface Mark {
  readonly since: number;
  readonly snaps: readonly HeldSnap[];
  readonly letGo?: true;
}

interface Hold {
  mark: Mark;
  /** The mark is written. */
  begun: boolean;
}

interface HeldSnap {
  readonly name: ImageName;
  readonly snapId: number;
}

/** `since` in milliseconds of the epoch. */
export interface UnsureHold {
  readonly snap: string;
  readonly since: number;
}

/** Elsewhere the age of a mark decides, after a day. */
const RENEW_MS = 60 * 60 * 1000;
const KEY = /^datamover\.hold\.([^.]+)\.[0-9a-f]+$/;
/** Of Linux: what a user who may only read gets, and a read-only (mirrored) image gives. */
const [EPERM, ENOENT, EBUSY, EINVAL, EROFS] = [1, 2, 16, 22, 30];

/** Holds snaps while the first one's image is read; gives what lets them go. */
export async function holdSnaps(
  cluster: Cluster,
  pinned: readonly [PinnedSnap, ...PinnedSnap[]],
  renewMs = RENEW_MS,
): Promise<() => Promise<void>> {
  const name = withoutSnap(pinned[0].name);
  const key = `datamover.hold.${ownerName()}.${randomBytes(4).toString('hex')}`;
  const snaps = pinned.map(({ name, snapId }) => ({ name, snapId }));
  const hold: Hold = { mark: { since: Date.now(), snaps }, begun: false };
  let released: Promise<void> | undefined;
  let stopRenewing = (): Promise<void> => Promise.resolve();
  const release = (): Promise<void> =>
    (released ??= (async () => {
      await stopRenewing();
      await letGo(cluster, name, key, hold.mark, 'ours');
    })());
  try {
    // Closed at once: who has an image open to write has its lock, and is in the way of whoever maps or removes it.
    await cluster.withImage(name, 'write', async (image) => {
      // Before anything is protected: who finds it so, finds by whom. And nothing that we do not protect: we may die here.
      hold.mark = { ...hold.mark, snaps: await toProtect(cluster, image, name, snaps) };
      await writeMark(image, key, hold.mark);
      hold.begun = true;
      const taken = await allOf(pinned.map((snap) => protect(cluster, image, name, snap.name)));
      const marked = new Set(snapIdsOf(hold.mark));
      if (snaps.every(({ snapId }, i) => taken[i] === marked.has(snapId))) return;
      // Others of ours hold it too; or somebody was quicker than we, or let go, since it was looked at.
      const others = [...(await readMarks(image))].filter(([other]) => other !== key);
      const held = new Set(others.flatMap(([, other]) => snapIdsOf(other)));
      const own = snaps.filter(({ snapId }, i) => taken[i] === true || held.has(snapId));
      hold.mark = { ...hold.mark, snaps: own };
      await writeMark(image, key, hold.mark);
    });
  } catch (error) {
    // What could not be held is told, not what could not be let go then: the next clean-up finds that.
    if (hold.begun) await release().catch(() => undefined);
    else if (isErrnoOf(error, EPERM, EROFS)) return () => Promise.resolve();
    throw error;
  }
  stopRenewing = renewMark(cluster, name, key, hold, renewMs);
  return release;
}

/** Says again and again that we live, while the mark is there: where somebody took us for gone it stays away. Gives what ends it. */
function renewMark(
  cluster: Cluster,
  name: ImageName,
  key: string,
  hold: Hold,
  ms: number,
): () => Promise<void> {
  let renewing = Promise.resolve();
  const renew = async (): Promise<void> => {
    await cluster.withImage(name, 'write', async (image) => {
      if (!(await readMarks(image)).has(key)) return;
      hold.mark = { ...hold.mark, since: Date.now() };
      await writeMark(image, key, hold.mark);
    });
  };
  const timer = setInterval(() => {
    // One that fails leaves the mark as old as it is; there are many before it is too old.
    renewing = renewing.then(renew).catch(() => undefined);
  }, ms).unref();
  return async () => {
    clearInterval(timer);
    await renewing;
  };
}

/** Lets go what processes of ours held on this image that are no more. Gives the snaps. */
export async function releaseStaleHolds(cluster: Cluster, name: ImageName): Promise<string[]> {
  const released: string[] = [];
  for (const [key, mark] of await marksBy(cluster, name, 'gone')) {
    await letGo(cluster, name, key, mark, 'left behind');
    released.push(...mark.snaps.map((snap) => formatImageName(snap.name)));
  }
  return released;
}

/** What is held, since when, by those of whom cannot be told whether they are at work. */
export async function unsureHolds(cluster: Cluster, name: ImageName): Promise<UnsureHold[]> {
  const marks = await marksBy(cluster, name, 'unknown');
  return marks.flatMap(([, { since, snaps }]) =>
    snaps.map((snap) => ({ snap: formatImageName(snap.name), since })),
  );
}

async function marksBy(cluster: Cluster, name: ImageName, fate: Fate): Promise<[string, Mark][]> {
  const marks = await cluster
    .withImage(name, 'read', (image) => readMarks(image))
    .catch((error: unknown) => {
      // A target need not be there.
      if (isErrnoOf(error, ENOENT)) return new Map<string, Mark>();
      throw error;
    });
  return [...marks].filter(
    ([key, { since }]) => fateOf(KEY.exec(key)?.[1] ?? '', since, 'many machines') === fate,
  );
}

/** Of these snaps those that are not protected, or by others of ours. */
async function toProtect(
  cluster: Cluster,
  image: OpenImage,
  of: ImageName,
  snaps: readonly HeldSnap[],
): Promise<HeldSnap[]> {
  const isFree = (snap: HeldSnap): Promise<boolean> => isUnprotected(cluster, image, of, snap.name);
  const free = await allOf(snaps.map(isFree));
  if (!free.includes(false)) return [...snaps];
  const held = new Set([...(await readMarks(image)).values()].flatMap(snapIdsOf));
  // One of ours that ended between the two looks took its mark along.
  const ours = await allOf(
    snaps.map(async (snap, i) => free[i] === true || held.has(snap.snapId) || isFree(snap)),
  );
  return snaps.filter((_, i) => ours[i]);
}

/** Never throws for what is gone already. */
async function letGo(
  cluster: Cluster,
  name: ImageName,
  key: string,
  mark: Mark,
  whose: 'ours' | 'left behind',
): Promise<void> {
  try {
    await cluster.withImage(name, 'write', async (image) => {
      // Said before the others are looked at: of two that end together at least one sees that nobody stays.
      await writeMark(image, key, { ...mark, letGo: true });
      const others = [...(await readMarks(image))].filter(
        ([other, { letGo }]) => other !== key && letGo !== true,
      );
      const needed = new Set(others.flatMap(([, other]) => snapIdsOf(other)));
      const free = mark.snaps.filter(({ snapId }) => !needed.has(snapId));
      await allOf(
        free.map(async (snap) => {
          if (whose === 'ours' || (await isSame(cluster, snap)))
            await unprotect(cluster, image, name, snap.name);
        }),
      );
      await image.removeMeta(key);
    });
  } catch (error) {
    if (!isErrnoOf(error, ENOENT)) throw error;
  }
}

/** While it is protected it cannot be deleted and made anew; after a long time that is not known. */
async function isSame(cluster: Cluster, { name, snapId }: HeldSnap): Promise<boolean> {
  const look = await cluster.look(withoutSnap(name)).catch((error: unknown) => {
    if (isErrnoOf(error, ENOENT)) return undefined;
    throw error;
  });
  return (
    look?.snaps.some(({ kind, id, name: snap }) => kind === 'user' && id === snapId && snap === name.snap) ??
    false
  );
}

async function isUnprotected(
  cluster: Cluster,
  image: OpenImage,
  of: ImageName,
  snap: ImageName,
): Promise<boolean> {
  return onImage(
    cluster,
    image,
    of,
    snap,
    'read',
    async (open) => !(await open.isProtected(snap.snap ?? '')),
  );
}

/** False where it was protected already. */
async function protect(cluster: Cluster, image: OpenImage, of: ImageName, snap: ImageName): Promise<boolean> {
  try {
    await onImage(cluster, image, of, snap, 'write', (open) => open.protect(snap.snap ?? ''));
    return true;
  } catch (error) {
    if (isErrnoOf(error, EBUSY)) return false;
    throw error;
  }
}

async function unprotect(cluster: Cluster, image: OpenImage, of: ImageName, snap: ImageName): Promise<void> {
  try {
    await onImage(cluster, image, of, snap, 'write', (open) => open.unprotect(snap.snap ?? ''));
  } catch (error) {
    // EBUSY: it has clones of the old format by now, which need the protection.
    if (!isErrnoOf(error, ENOENT, EINVAL, EBUSY)) throw error;
  }
}

/** Ends when all of them have: an image that is closed while somebody works with it takes the process along. */
async function allOf<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const ended = await Promise.allSettled(work);
  return ended.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

/** On the image that is open, where the snap is its; else on the snap's own. */
async function onImage<T>(
  cluster: Cluster,
  image: OpenImage,
  of: ImageName,
  snap: ImageName,
  mode: 'read' | 'write',
  work: (image: OpenImage) => Promise<T>,
): Promise<T> {
  const own = withoutSnap(checkImageName(snap));
  if (formatImageName(own) === formatImageName(of)) return work(image);
  return cluster.withImage(own, mode, work);
}

async function readMarks(image: OpenImage): Promise<Map<string, Mark>> {
  const marks = new Map<string, Mark>();
  for (const [key, value] of await image.listMeta()) {
    const mark = KEY.test(key) ? parseMark(value) : undefined;
    if (mark !== undefined) marks.set(key, mark);
  }
  return marks;
}

async function writeMark(image: OpenImage, key: string, mark: Mark): Promise<void> {
  await image.setMeta(key, JSON.stringify(mark));
}

/** Whoever may write to the image can write any mark: nothing but names and ids is taken from it. */
function parseMark(text: string): Mark | undefined {
  try {
    const value = JSON.parse(text) as Partial<Mark> | null;
    if (typeof value?.since !== 'number' || !Array.isArray(value.snaps)) return undefined;
    const snaps = (value.snaps as HeldSnap[]).map(({ name, snapId }) => ({
      name: checkImageName(name),
      snapId,
    }));
    if (!snaps.every(({ snapId }) => Number.isSafeInteger(snapId))) return undefined;
    return { since: value.since, snaps, ...(value.letGo === true && { letGo: true }) };
  } catch {
    return undefined;
  }
}

function snapIdsOf({ snaps }: Mark): number[] {
  return snaps.map(({ snapId }) => snapId);
}
