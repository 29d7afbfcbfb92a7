import { DatamoverError } from '../../errors.ts';
import type { RbdConnection } from './command.ts';
import type { PinnedSnap } from './export-job.ts';
import { identify, listSnaps } from './image.ts';
import { checkImageName, formatImageName, withoutSnap } from './image-name.ts';

/** Throws unless these snaps are there under their names, with their ids: what is read under one that goes cannot be trusted. */
export async function verifySnaps(
  connection: RbdConnection,
  pinned: readonly PinnedSnap[],
  signal?: AbortSignal,
): Promise<void> {
  for (const { name, imageId, snapId } of pinned) {
    const image = withoutSnap(checkImageName(name));
    const [{ id }, snaps] = await Promise.all([
      identify(connection, image, signal),
      listSnaps(connection, image, signal),
    ]);
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

export function gone(name: PinnedSnap['name'], cause: string): DatamoverError {
  return new DatamoverError({
    operation: 'read rbd image',
    subject: formatImageName(name),
    cause,
    hint: 'back up again: what was read of it does not count',
  });
}
