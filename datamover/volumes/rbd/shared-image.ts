import type { ImageLook, RbdImage, RbdSnap } from './image.ts';
import type { ImageName } from './image-name.ts';
import type { SharedChanges, SharedImage } from './read-job.ts';
import type { Session } from './session.ts';

/** Looks whether, and how, an image's changes between two of its snaps can be told; gives the reason where they cannot. */
export async function lookAtShared(
  session: Session,
  name: ImageName,
  moments: { readonly imageId: string; readonly from: number; readonly snapId: number },
  signal?: AbortSignal,
): Promise<(Pick<SharedChanges, 'image'> & { readonly by: 'snap-id' | 'object-map' }) | string> {
  const { imageId, from, snapId: to } = moments;
  const asking = { operation: 'look at rbd image', subject: name.image, signal };
  const {
    image: facts,
    snaps,
    diffById,
  }: ImageLook = await session.ask('look', { ...name, imageId }, asking);
  const between = snaps.filter(({ id }) => id >= from && id <= to).map(({ id }) => id);
  const named = snaps.find(({ kind }) => kind !== 'trash');
  const lost = [from, to].find((id) => !between.includes(id));
  if (lost !== undefined) return `snap ${lost} of ${name.image}, of which changes would be told, is gone`;
  const image = {
    name,
    imageId,
    objectBytes: facts.objectBytes,
    clone: facts.parent !== undefined,
  };
  if (diffById || from === to) return { image, by: 'snap-id' };
  const flags = await session.ask('flags', { image, snapIds: between }, asking);
  const why = noObjectMaps(image, facts, between, flags, named);
  if (why === undefined) return { image, by: 'object-map' };
  return `librbd does not tell changes by the ids of snaps (since 18.2.7 it does), and ${why}`;
}

function noObjectMaps(
  { name }: SharedImage,
  { features, stripeCount = 1, stripeUnit, objectBytes }: RbdImage,
  snapIds: readonly number[],
  flags: readonly number[],
  named: RbdSnap | undefined,
): string | undefined {
  if (!features.includes('fast-diff')) return `${name.image} has no object map with fast-diff`;
  if (stripeCount !== 1 || (stripeUnit ?? objectBytes) !== objectBytes) return `${name.image} is striped`;
  const invalid = snapIds.find((_, i) => flags[i] !== 0);
  // A rollback makes the snap's map the image's: what it changed back is not marked. A snap in the trash has no name to go back to.
  if (named !== undefined)
    return `${name.image} has the snap ${named.name}, and object maps do not tell of a rollback to it`;
  // Ceph would say that nothing changed.
  if (invalid !== undefined) return `the object map of snap ${invalid} of ${name.image} is invalid`;
  return undefined;
}
