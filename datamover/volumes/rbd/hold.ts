import { randomBytes } from 'node:crypto';
import { isGone, ownerName } from '../../process/owner.ts';
import { askRbd, isRbdErrno, runRbd, type RbdConnection } from './command.ts';
import type { PinnedSnap } from './export-job.ts';
import { listSnaps } from './image.ts';
import { checkImageName, formatImageName, nameOptions, withoutSnap, type ImageName } from './image-name.ts';

/**
 * Snaps are kept by protecting them: then Ceph refuses to delete them, and ceph-csi asks again later. A flag does not count, so
 * each hold leaves a mark, in the image-meta of the image that is read:
 *
 *     datamover.hold.<owner>.<random>   {"since": epoch ms, "snaps": [those that we protect], "letGo": true while it ends}
 *
 * A snap that somebody else protected has no mark and stays as it is. A user without the right to write holds nothing; the
 * ids that are compared after the read (export-main.ts) decide in any case.
 */
interface Mark {
  readonly since: number;
  readonly snaps: readonly HeldSnap[];
  readonly letGo?: true;
}

interface HeldSnap {
  readonly name: ImageName;
  readonly snapId: number;
}

const KEY = /^datamover\.hold\.([^.]+)\.[0-9a-f]+$/;
const OPERATION = 'hold snap of rbd image';
/** Of Linux: what a user who may only read gets, and a read-only (mirrored) image gives. */
const [EPERM, ENOENT, EBUSY, EINVAL, EROFS] = [1, 2, 16, 22, 30];

/** Holds snaps while the first one's image is read; gives what lets them go. */
export async function holdSnaps(
  connection: RbdConnection,
  pinned: readonly [PinnedSnap, ...PinnedSnap[]],
  signal?: AbortSignal,
): Promise<() => Promise<void>> {
  const image = withoutSnap(pinned[0].name);
  const key = `datamover.hold.${ownerName()}.${randomBytes(4).toString('hex')}`;
  let mark: Mark = { since: Date.now(), snaps: pinned.map(({ name, snapId }) => ({ name, snapId })) };
  try {
    // Before anything is protected: who finds it so, finds by whom.
    await writeMark(connection, image, key, mark, signal);
  } catch (error) {
    if (isRbdErrno(error, EPERM, EROFS)) return () => Promise.resolve();
    throw error;
  }
  let released: Promise<void> | undefined;
  const release = (): Promise<void> => (released ??= letGo(connection, image, key, mark, 'ours'));
  try {
    const taken = await Promise.all(pinned.map(({ name }) => protect(connection, name, signal)));
    if (taken.includes(false)) {
      const others = [...(await readMarks(connection, image, signal))].filter(([other]) => other !== key);
      const marked = new Set(others.flatMap(([, other]) => snapIdsOf(other)));
      mark = {
        ...mark,
        snaps: mark.snaps.filter(({ snapId }, i) => taken[i] === true || marked.has(snapId)),
      };
      await writeMark(connection, image, key, mark, signal);
    }
  } catch (error) {
    await release();
    throw error;
  }
  return release;
}

/** Lets go what processes of ours held on this image that are no more. Gives the snaps. */
export async function releaseStaleHolds(
  connection: RbdConnection,
  image: ImageName,
  signal?: AbortSignal,
): Promise<string[]> {
  const released: string[] = [];
  for (const [key, mark] of await readMarks(connection, image, signal)) {
    if (!isGone(KEY.exec(key)?.[1] ?? '', mark.since)) continue;
    await letGo(connection, image, key, mark, 'left behind');
    released.push(...mark.snaps.map(({ name }) => formatImageName(name)));
  }
  return released;
}

/** Never throws for what is gone already. */
async function letGo(
  connection: RbdConnection,
  image: ImageName,
  key: string,
  mark: Mark,
  whose: 'ours' | 'left behind',
): Promise<void> {
  try {
    // Said before the others are looked at: of two that end together at least one sees that nobody stays.
    await writeMark(connection, image, key, { ...mark, letGo: true });
    const others = [...(await readMarks(connection, image))].filter(
      ([other, { letGo }]) => other !== key && letGo !== true,
    );
    const needed = new Set(others.flatMap(([, other]) => snapIdsOf(other)));
    const free = mark.snaps.filter(({ snapId }) => !needed.has(snapId));
    await Promise.all(
      free.map(async (snap) => {
        if (whose === 'ours' || (await isSame(connection, snap))) await unprotect(connection, snap.name);
      }),
    );
    await runRbd(connection, metaRequest('remove', image, [key]));
  } catch (error) {
    if (!isRbdErrno(error, ENOENT)) throw error;
  }
}

/** While it is protected it cannot be deleted and made anew; after a long time that is not known. */
async function isSame(connection: RbdConnection, { name, snapId }: HeldSnap): Promise<boolean> {
  const snaps = await listSnaps(connection, name).catch((error: unknown) => {
    if (isRbdErrno(error, ENOENT)) return [];
    throw error;
  });
  return snaps.some((snap) => snap.kind === 'user' && snap.id === snapId && snap.name === name.snap);
}

/** False where it was protected already. */
async function protect(connection: RbdConnection, name: ImageName, signal?: AbortSignal): Promise<boolean> {
  const args = ['snap', 'protect', ...nameOptions(checkImageName(name))];
  try {
    await runRbd(connection, { operation: OPERATION, name, args, ...(signal && { signal }) });
    return true;
  } catch (error) {
    if (isRbdErrno(error, EBUSY)) return false;
    throw error;
  }
}

async function unprotect(connection: RbdConnection, name: ImageName): Promise<void> {
  const args = ['snap', 'unprotect', ...nameOptions(checkImageName(name))];
  try {
    await runRbd(connection, { operation: 'let go snap of rbd image', name, args });
  } catch (error) {
    // EBUSY: it has clones of the old format by now, which need the protection.
    if (!isRbdErrno(error, ENOENT, EINVAL, EBUSY)) throw error;
  }
}

async function readMarks(
  connection: RbdConnection,
  image: ImageName,
  signal?: AbortSignal,
): Promise<Map<string, Mark>> {
  const answer = await askRbd(connection, metaRequest('list', image, [], signal));
  const marks = new Map<string, Mark>();
  for (const [key, value] of Object.entries(answer ?? {}) as [string, unknown][]) {
    const mark = KEY.test(key) ? parseMark(value) : undefined;
    if (mark !== undefined) marks.set(key, mark);
  }
  return marks;
}

async function writeMark(
  connection: RbdConnection,
  image: ImageName,
  key: string,
  mark: Mark,
  signal?: AbortSignal,
): Promise<void> {
  await runRbd(connection, metaRequest('set', image, [key, JSON.stringify(mark)], signal));
}

function metaRequest(
  verb: 'list' | 'set' | 'remove',
  image: ImageName,
  words: string[],
  signal?: AbortSignal,
) {
  const args = ['image-meta', verb, ...nameOptions(checkImageName(image)), ...words];
  return { operation: OPERATION, name: image, args, ...(signal && { signal }) };
}

/** Whoever may write to the image can write any mark: nothing but names and ids is taken from it. */
function parseMark(text: unknown): Mark | undefined {
  try {
    const value = (typeof text === 'string' ? JSON.parse(text) : undefined) as
      Partial<Mark> | null | undefined;
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
