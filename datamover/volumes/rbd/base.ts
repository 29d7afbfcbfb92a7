import { describeCause } from '../../errors.ts';
import type { BaseBackup, ChangeKnowledge } from '../driver.ts';
import { isRbdErrno } from './command.ts';
import type { CloneParent, ImageLook, RbdSnap } from './image.ts';
import { checkImageName, formatImageName, withoutSnap } from './image-name.ts';
import type { PinnedSnap, ReadJob } from './read-job.ts';
import { recordedSnap, type Moment, type RecordedSnap } from './record.ts';
import type { Session } from './session.ts';
import { lookAtShared } from './shared-image.ts';

/** How the changes since a base are read, and by what they are known. */
export interface BaseReading {
  readonly mechanism: ChangeKnowledge['mechanism'];
  readonly reading: ReadJob['reading'];
}

interface ReadSnap {
  readonly pinned: PinnedSnap;
  readonly bytes: number;
  /** Of a clone: what it shows. */
  readonly parent?: CloneParent;
  /** The image itself, as it is now. */
  readonly look: ImageLook;
}

/** A moment of an image by which two snaps are compared: the snap's own, or the one that its image is a clone of. */
interface Side extends Moment {
  readonly clone: boolean;
}

const ENOENT = 2;

/** How to read on from the backup, or the reason why Ceph cannot tell what changed since. */
export async function findReading(
  session: Session,
  source: ReadSnap,
  base: BaseBackup,
  signal?: AbortSignal,
): Promise<BaseReading | string> {
  const backup = `backup ${base.snapshotId.slice(0, 8)}`;
  const recorded = recordedSnap(base);
  if (recorded === undefined) return `${backup} does not know of which snap of which image it is`;
  const { imageId, snapId, name } = recorded;
  const { pinned, look } = source;
  const { image, snaps, diffById } = look;
  if (imageId !== pinned.imageId) return findShared(session, source, base, recorded, signal);
  if (snapId === pinned.snapId) return { reading: { kind: 'unchanged' }, mechanism: 'rbd-export-diff' };
  if (snapId > pinned.snapId) return `${backup} is of a later snap`;
  const from = snaps.find(({ id }) => id === snapId);
  if (from === undefined) return `the snap ${name.snap} (id ${snapId}) of ${backup} is gone`;
  if (from.bytes !== base.bytes) return otherSize(backup, base, from);
  // No command can name a snap in the trash.
  if (from.kind !== 'user') return findShared(session, source, base, recorded, signal);
  const older = { name: { ...pinned.name, snap: from.name }, imageId, snapId };
  const shared = {
    name: withoutSnap(pinned.name),
    imageId,
    objectBytes: image.objectBytes,
    clone: image.parent !== undefined,
  };
  return {
    mechanism: 'rbd-export-diff',
    reading: {
      kind: 'changes',
      by: diffById ? 'snap-id' : 'snap-name',
      ...{ base: older, image: shared, from: snapId, to: pinned.snapId },
      ...{ held: [older], clones: [], overlap: source.bytes },
    },
  };
}

/** By an image that both show. CSI snapshots are clones of snaps of the volume's image, which are in the trash. */
async function findShared(
  session: Session,
  { pinned, bytes, parent }: ReadSnap,
  base: BaseBackup,
  recorded: RecordedSnap,
  signal?: AbortSignal,
): Promise<BaseReading | string> {
  const backup = `backup ${base.snapshotId.slice(0, 8)}`;
  const sources = sidesOf(pinned, showsParent(pinned) ? parent : undefined);
  const bases = sidesOf(recorded, showsParent(recorded) ? recorded.parent : undefined);
  const pair = sources
    .flatMap((to) => bases.map((from) => ({ from, to })))
    .find(({ from, to }) => from.imageId === to.imageId);
  if (pair === undefined) return nothingShared(pinned, parent, recorded, backup);
  const { from, to } = pair;
  if (from.snapId > to.snapId) return `${backup} is of a later snap`;
  const clones = to.clone ? [pinned] : [];
  let overlap = (to.clone ? parent?.overlap : undefined) ?? bytes;
  const older: PinnedSnap = { name: recorded.name, imageId: recorded.imageId, snapId: recorded.snapId };
  if (from.clone) {
    const clone = await lookAtBaseClone(session, older, from, base, signal);
    if (typeof clone === 'string') return clone;
    clones.push(older);
    overlap = Math.min(overlap, clone.overlap);
  }
  const image = to.clone && parent !== undefined ? placeOf(parent) : withoutSnap(pinned.name);
  const shared = await lookAtShared(session, image, { ...pair.to, from: from.snapId }, signal).catch(
    (error: unknown) => {
      signal?.throwIfAborted();
      return describeCause(error);
    },
  );
  if (typeof shared === 'string') return `${shared} (${backup})`;
  return {
    mechanism: shared.by === 'snap-id' ? 'rbd-diff-by-snap-id' : 'rbd-object-map',
    reading: {
      kind: 'changes',
      ...shared,
      ...{ base: older, from: from.snapId, to: to.snapId, clones, overlap },
      held: clones.filter(({ snapId }) => snapId !== pinned.snapId),
    },
  };
}

const UUID_LAST = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * A snapshot of ceph-csi bears its image's name, which ends with a UUID whatever its prefix, and nobody works with it. A clone that is worked with may hide what its parent has
 * by a discard, which librbd does not tell as something of its own: then the two have nothing in common.
 */
function showsParent({ name }: Pick<PinnedSnap, 'name'>): boolean {
  return name.image === name.snap && UUID_LAST.test(name.image);
}

function sidesOf(own: Moment, parent: Moment | undefined): Side[] {
  const itself = { imageId: own.imageId, snapId: own.snapId, clone: false };
  if (parent === undefined) return [itself];
  return [{ imageId: parent.imageId, snapId: parent.snapId, clone: true }, itself];
}

/** The clone that the base was read from: what it has of its own must still be there to be known. */
async function lookAtBaseClone(
  session: Session,
  older: PinnedSnap,
  shown: Moment,
  base: BaseBackup,
  signal?: AbortSignal,
): Promise<CloneParent | string> {
  const backup = `backup ${base.snapshotId.slice(0, 8)}`;
  const name = formatImageName(older.name);
  try {
    const asking = { operation: 'look at rbd image', subject: name, signal };
    const { image, snaps } = await session.ask('look', checkImageName(older.name), asking);
    const snap = snaps.find(({ id, kind }) => id === older.snapId && kind === 'user');
    if (image.id !== older.imageId || snap?.name !== older.name.snap)
      return `${name} of ${backup} was deleted and made anew`;
    if (snap.bytes !== base.bytes) return otherSize(backup, base, snap);
    const { parent } = image;
    if (parent?.imageId !== shown.imageId || parent.snapId !== shown.snapId)
      return `${name} of ${backup} was flattened: it has nothing in common with its volume any more`;
    return parent;
  } catch (error) {
    if (isRbdErrno(error, ENOENT)) return `${name} of ${backup} is gone`;
    throw error;
  }
}

function nothingShared(
  pinned: PinnedSnap,
  parent: CloneParent | undefined,
  recorded: RecordedSnap,
  backup: string,
): string {
  if (parent === undefined && recorded.parent !== undefined)
    return `${formatImageName(pinned.name)} has no parent (it was flattened, or is no clone), as the image of ${backup} had`;
  return `${backup} is of another image (${recorded.name.image}, id ${recorded.imageId})`;
}

function placeOf({ pool, namespace, image }: CloneParent): {
  pool: string;
  namespace?: string;
  image: string;
} {
  return { pool, image, ...(namespace !== undefined && { namespace }) };
}

function otherSize(backup: string, { bytes }: BaseBackup, snap: RbdSnap): string {
  return `${backup} has ${bytes} bytes, its snap ${snap.name} ${snap.bytes}`;
}
