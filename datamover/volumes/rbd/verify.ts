import { DatamoverError } from '../../errors.ts';
import type { Cluster } from './cluster.ts';
import type { ImageLook } from './image.ts';
import { checkImageName, formatImageName, withoutSnap, type ImageName } from './image-name.ts';
import type { PinnedSnap, ReadJob } from './read-job.ts';

/** Throws unless all that the job rests on is still what it was: what is read under something that goes cannot be trusted. */
export async function verifyJob(cluster: Cluster, { source, reading }: ReadJob): Promise<void> {
  if (reading.kind !== 'changes') return verifySnaps(cluster, [source]);
  const { base, clones, image, from, to } = reading;
  // Whoever flattens or deletes a clone takes the shared image's snap away with it.
  const shared = async (): Promise<void> => {
    const { snaps } = await cluster.look({ ...image.name, imageId: image.imageId });
    const lost = [from, to].find((id) => !snaps.some((snap) => snap.id === id));
    if (lost === undefined) return;
    const what = `snap ${lost} of ${image.name.image}, which tells what changed,`;
    throw gone(source.name, `${what} went while it was read`);
  };
  const named = reading.by === 'snap-name' ? [base] : [];
  await Promise.all([verifySnaps(cluster, [source, ...clones, ...named]), shared()]);
}

/** Throws unless these snaps are there under their names, with their ids. */
async function verifySnaps(cluster: Cluster, pinned: readonly PinnedSnap[]): Promise<void> {
  const looks = new Map<string, Promise<ImageLook>>();
  for (const { name } of pinned) {
    const image = withoutSnap(checkImageName(name));
    const key = formatImageName(image);
    const look = looks.get(key) ?? cluster.look(image);
    look.catch(() => undefined);
    looks.set(key, look);
  }
  for (const { name, imageId, snapId } of pinned) {
    const look = await looks.get(formatImageName(withoutSnap(name)));
    const id = look?.image.id;
    const found = look?.snaps.find((entry) => entry.kind === 'user' && entry.name === name.snap);
    if (id === imageId && found?.id === snapId) continue;
    const cause =
      id !== imageId
        ? `the image was deleted and made anew while it was read (its id was ${imageId}, now it is ${id ?? 'unknown'})`
        : found === undefined
          ? 'the snap was deleted while it was read'
          : `the snap was deleted and made anew (its id was ${snapId}, now it is ${found.id})`;
    throw gone(name, cause);
  }
}

export function gone(name: ImageName, cause: string): DatamoverError {
  return new DatamoverError({
    operation: 'read rbd image',
    subject: formatImageName(name),
    cause,
    hint: 'back up again: what was read of it does not count',
  });
}
