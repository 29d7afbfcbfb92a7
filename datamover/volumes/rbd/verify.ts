import { DatamoverError } from '../../errors.ts';
import type { RbdConnection } from './command.ts';
import type { PinnedSnap } from './export-job.ts';
import { identify, listSnaps, type RbdSnap } from './image.ts';
import { checkImageName, formatImageName, withoutSnap, type ImageName } from './image-name.ts';

/** Throws unless these snaps are there under their names, with their ids: what is read under one that goes cannot be trusted. */
export async function verifySnaps(
  connection: RbdConnection,
  pinned: readonly PinnedSnap[],
  signal?: AbortSignal,
): Promise<void> {
  const looks = new Map<string, Promise<{ readonly id: string; readonly snaps: readonly RbdSnap[] }>>();
  for (const { name, imageId, snapId } of pinned) {
    const image = withoutSnap(checkImageName(name));
    const key = formatImageName(image);
    const look = looks.get(key) ?? lookAt(connection, image, signal);
    looks.set(key, look);
    const { id, snaps } = await look;
    const found = snaps.find((entry) => entry.kind === 'user' && entry.name === name.snap);
    if (id === imageId && found?.id === snapId) continue;
    const cause =
      id !== imageId
        ? `the image was deleted and made anew while it was read (its id was ${imageId}, now it is ${id})`
        : found === undefined
          ? 'the snap was deleted while it was read'
          : `the snap was deleted and made anew (its id was ${snapId}, now it is ${found.id})`;
    throw gone(name, cause);
  }
}

async function lookAt(connection: RbdConnection, image: ImageName, signal?: AbortSignal) {
  const [{ id }, snaps] = await Promise.all([
    identify(connection, image, signal),
    listSnaps(connection, image, signal),
  ]);
  return { id, snaps };
}

export function gone(name: PinnedSnap['name'], cause: string): DatamoverError {
  return new DatamoverError({
    operation: 'read rbd image',
    subject: formatImageName(name),
    cause,
    hint: 'back up again: what was read of it does not count',
  });
}
