import type { BaseBackup } from '../driver.ts';
import type { ImageName } from './image-name.ts';
import type { RbdImage } from './image.ts';

/** A snap of an image, by the ids that Ceph never gives twice. Its content never changes. */
export interface Moment {
  readonly imageId: string;
  readonly snapId: number;
}

/** A snap that clones show, by whatever name it has: ceph-csi's are in the trash. */
export interface ParentSnap extends Moment {
  readonly pool: string;
  readonly namespace?: string;
  readonly image: string;
}

/** What `volume.json` keeps of an image: who it was, for the next backup, and how it was made, for a restore. */
export interface RbdRecord extends Moment {
  readonly pool: string;
  readonly namespace?: string;
  readonly image: string;
  readonly snap: string;
  readonly objectBytes: number;
  readonly features: readonly string[];
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
  readonly dataPool?: string;
  /** Of a clone: the snap of another image that it shows. CSI snapshots of one volume have this image in common. */
  readonly parent?: ParentSnap;
}

export function recordOf(
  name: ImageName & { readonly snap: string },
  image: RbdImage,
  snapId: number,
  parent: RbdRecord['parent'],
): RbdRecord {
  const { id, objectBytes, features, stripeUnit, stripeCount, dataPool } = image;
  return {
    pool: name.pool,
    ...(name.namespace !== undefined && { namespace: name.namespace }),
    image: name.image,
    snap: name.snap,
    imageId: id,
    snapId,
    objectBytes,
    features,
    ...(stripeUnit !== undefined && { stripeUnit }),
    ...(stripeCount !== undefined && { stripeCount }),
    ...(dataPool !== undefined && { dataPool }),
    ...(parent !== undefined && { parent: snapOnly(parent) }),
  };
}

function snapOnly({ pool, namespace, image, imageId, snapId }: ParentSnap): ParentSnap {
  return { pool, ...(namespace !== undefined && { namespace }), image, imageId, snapId };
}

/** The identity that a backup recorded; of unchecked JSON, so any of it may be missing. */
export interface RecordedSnap extends Moment {
  readonly name: ImageName & { readonly snap: string };
  readonly parent?: Moment;
}

/** Undefined where the backup does not know which snap of which image it is of (a diff from a pipe tells the snap's name alone). */
export function recordedSnap({ record }: BaseBackup): RecordedSnap | undefined {
  const fields = fieldsOf(record);
  const moment = momentOf(record);
  const { pool, namespace, image, snap } = fields;
  if (moment === undefined || typeof pool !== 'string') return undefined;
  if (typeof image !== 'string' || typeof snap !== 'string') return undefined;
  const parent = momentOf(fields['parent']);
  const place = typeof namespace === 'string' ? { pool, namespace } : { pool };
  return { ...moment, name: { ...place, image, snap }, ...(parent !== undefined && { parent }) };
}

/** How an image was made, of unchecked JSON: what is missing or strange is left out. */
export function recordedShape(
  record: unknown,
): Partial<Pick<RbdRecord, 'objectBytes' | 'features' | 'stripeUnit' | 'stripeCount' | 'dataPool'>> {
  const { objectBytes, features, stripeUnit, stripeCount, dataPool } = fieldsOf(record);
  return {
    ...(isCount(objectBytes) && { objectBytes }),
    ...(isTexts(features) && { features }),
    ...(isCount(stripeUnit) && { stripeUnit }),
    ...(isCount(stripeCount) && { stripeCount }),
    ...(typeof dataPool === 'string' && { dataPool }),
  };
}

function momentOf(value: unknown): Moment | undefined {
  const { imageId, snapId } = fieldsOf(value);
  return typeof imageId === 'string' && isCount(snapId) ? { imageId, snapId } : undefined;
}

function fieldsOf(value: unknown): Partial<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? value : {};
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}
