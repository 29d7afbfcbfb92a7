import { run } from '../../process/spawn.ts';
import type { RbdConnection } from './command.ts';
import { identifyById, listSnapsById, type RbdImage, type RbdSnap } from './image.ts';
import type { ImageName } from './image-name.ts';
import { libraryCommand } from './library-command.ts';
import type { SharedImage, SharedJob, SnapFacts, SnapFactsJob } from './shared-job.ts';

/** Looks whether, and how, an image's changes between two of its snaps can be told; gives the reason where they cannot. */
export async function lookAtShared(
  connection: RbdConnection,
  name: ImageName,
  moments: { readonly imageId: string; readonly from: number; readonly snapId: number },
  signal?: AbortSignal,
): Promise<Pick<SharedJob, 'image' | 'mechanism'> | string> {
  const { imageId, from, snapId: to } = moments;
  const [facts, snaps] = await Promise.all([
    identifyById(connection, name, imageId, signal),
    listSnapsById(connection, name, imageId, signal),
  ]);
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
  const { diffById, flags } = await askSnapFacts({ connection, image, snapIds: between }, signal);
  if (diffById || from === to) return { image, mechanism: 'snap-id' };
  const why = noObjectMaps(image, facts, between, flags, named);
  if (why === undefined) return { image, mechanism: 'object-map' };
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

/** Only librbd tells the flags of a snap by its id. */
async function askSnapFacts(job: SnapFactsJob, signal?: AbortSignal): Promise<SnapFacts> {
  const { stdout } = await run({
    ...libraryCommand(job.connection, 'snap-facts-main', [JSON.stringify(job)]),
    operation: 'ask librbd about',
    subject: job.image.name.image,
    ...(signal && { signal }),
  });
  return JSON.parse(stdout) as SnapFacts;
}
