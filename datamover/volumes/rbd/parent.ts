import type { RbdConnection } from './command.ts';
import { listSnapsById, type RbdImage } from './image.ts';
import type { ParentSnap } from './record.ts';

/** What a clone shows of another image, as it is now. */
export interface CloneParent extends ParentSnap {
  /** Bytes from the clone's start. */
  readonly overlap: number;
}

/** Undefined for an image that is no clone, or no more; and where its parent's snap is on its way out. */
export async function parentOf(
  connection: RbdConnection,
  { parent }: RbdImage,
  signal?: AbortSignal,
): Promise<CloneParent | undefined> {
  if (parent === undefined || parent.imageId === '') return undefined;
  const { pool, namespace, image, imageId, snap, overlap } = parent;
  const place = { pool, ...(namespace !== '' && { namespace }), image };
  const snaps = await listSnapsById(connection, place, imageId, signal);
  const found = snaps.find(({ name }) => name === snap);
  return found && { ...place, imageId, snapId: found.id, overlap };
}
