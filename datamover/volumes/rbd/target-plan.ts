import { DatamoverError, type FailureKind } from '../../errors.ts';
import type { TargetNeed, TargetPlan, TargetWishes } from '../driver.ts';
import { checkWishes } from '../wishes.ts';
import { askRbd, isRbdErrno, type RbdConnection } from './command.ts';
import type { RbdImage } from './image.ts';
import {
  checkImageName,
  formatImageName,
  nameOptions,
  parseImageName,
  type ImageName,
} from './image-name.ts';
import { refuseRestoring } from './partial-image.ts';
import { recordedShape } from './record.ts';
import { findWatcher } from './watchers.ts';

export interface RbdTargetPlan extends TargetPlan {
  readonly name: ImageName;
  /** Of an image that is overwritten: it must still be this one. */
  readonly imageId?: string;
  /** Of one that is made: rbd's defaults for what is not named. */
  readonly shape: ImageShape;
  /** What of the backup's image cannot be had again. */
  readonly note?: string;
}

export interface ImageShape {
  readonly objectBytes?: number;
  readonly features?: readonly string[];
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
  readonly dataPool?: string;
}

const OPERATION = 'restore to rbd image';
const ENOENT = 2;
/** The features that an image can be made with; `data-pool` and `striping` follow from other options. */
const FEATURES = ['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten', 'journaling'];
/** Not taken over from a backup: a journal is for a mirror, which the new image has none of. */
const NOT_AGAIN = 'journaling';

/** Looks at the place and says what will be there. A new image is made as wished, else as the backup's was. */
export async function planImageTarget(
  connection: RbdConnection,
  location: string,
  { bytes, record, force, wishes }: TargetNeed,
  signal?: AbortSignal,
): Promise<RbdTargetPlan> {
  checkWishes(location, wishes, ['objectBytes', 'dataPool', 'features'], 'an RBD image');
  const name = parseImageName(location);
  if (name.snap !== undefined)
    throw refused(name, 'a snap cannot be written to', 'leave @ and what follows it out', 'usage');
  await findPool(connection, name, name.pool, signal);
  const there = await findImage(connection, name, signal);
  if (there === undefined) {
    const [shape] = await Promise.all([
      chooseShape(connection, name, record, wishes, signal),
      refuseRestoring(connection, name, signal),
    ]);
    return { location: formatImageName(name), bytes, action: 'create', name, ...shape };
  }
  await refuseUnfit(connection, name, there, bytes, force, signal);
  return {
    location: formatImageName(name),
    bytes: there.bytes,
    action: 'overwrite',
    name,
    imageId: there.id,
    shape: {},
  };
}

/** Throws where an image that is there cannot be overwritten now. */
async function refuseUnfit(
  connection: RbdConnection,
  name: ImageName,
  there: Pick<RbdImage, 'bytes'>,
  bytes: number,
  force: boolean,
  signal?: AbortSignal,
): Promise<void> {
  if (!force) {
    const hint = 'use --force to overwrite it, or name another image';
    throw refused(name, `the image exists and has ${there.bytes} bytes`, hint);
  }
  if (there.bytes < bytes) {
    const hint = 'choose a target that is at least as large (rbd resize)';
    throw refused(name, `it has ${there.bytes} bytes, the volume ${bytes}`, hint, 'target-too-small');
  }
  await refuseWatched(connection, name, signal);
}

/** Whoever has an image open (a mapping, a virtual machine) watches it. */
export async function refuseWatched(
  connection: RbdConnection,
  name: ImageName,
  signal?: AbortSignal,
): Promise<void> {
  const watcher = await findWatcher(connection, name, signal);
  if (watcher === undefined) return;
  const who = watcher.address === undefined ? '' : ` by ${watcher.address}`;
  throw refused(name, `it is in use${who}`, 'unmap it or stop what has it open', 'target-in-use');
}

/** Undefined where there is none. */
export async function findImage(
  connection: RbdConnection,
  name: ImageName,
  signal?: AbortSignal,
): Promise<Pick<RbdImage, 'id' | 'bytes'> | undefined> {
  const operation = 'look at rbd image';
  const args = ['info', ...nameOptions(name)];
  const answer = await askRbd(connection, { operation, name, args, ...(signal && { signal }) }).catch(
    (error: unknown) => {
      // Both "no such image" and "no such pool" are ENOENT; the pool was looked at before.
      if (isRbdErrno(error, ENOENT)) return undefined;
      throw error;
    },
  );
  if (answer === undefined) return undefined;
  const { id, size } = answer as { readonly id?: unknown; readonly size?: unknown };
  if (typeof id === 'string' && typeof size === 'number') return { id, bytes: size };
  throw new DatamoverError({
    operation,
    subject: formatImageName(name),
    cause: "rbd's answer has no usable id and size",
    hint: 'this release of Ceph is not known to us: please report it with the output of rbd info --format json',
  });
}

async function chooseShape(
  connection: RbdConnection,
  name: ImageName,
  record: unknown,
  wishes: TargetWishes | undefined,
  signal?: AbortSignal,
): Promise<Pick<RbdTargetPlan, 'shape' | 'note'>> {
  const { dataPool: wishedPool, features: wishedFeatures } = wishes ?? {};
  const recorded = recordedShape(record);
  const objectBytes = wishedObjectBytes(name, wishes?.objectBytes) ?? recorded.objectBytes;
  const strange = wishedFeatures?.find((feature) => !FEATURES.includes(feature));
  if (strange !== undefined || wishedFeatures?.length === 0) {
    const hint = `the features of an image are ${FEATURES.join(', ')}`;
    throw refused(name, `no image is made with the feature ${JSON.stringify(strange ?? '')}`, hint, 'usage');
  }
  const again = recorded.features?.filter((feature) => FEATURES.includes(feature) && feature !== NOT_AGAIN);
  const features = wishedFeatures ?? (again?.length === 0 ? undefined : again);
  if (wishedPool !== undefined) await findPool(connection, name, wishedPool, signal);
  const data =
    wishedPool === undefined ? await recordedPool(connection, name, recorded.dataPool, signal) : {};
  const dataPool = wishedPool ?? data.dataPool;
  const { stripeUnit, stripeCount } = recorded;
  const striped =
    stripeUnit !== undefined && stripeCount !== undefined && (objectBytes ?? 0) % stripeUnit === 0;
  const shape = {
    ...(objectBytes !== undefined && { objectBytes }),
    ...(features !== undefined && { features }),
    ...(striped && { stripeUnit, stripeCount }),
    ...(dataPool !== undefined && dataPool !== name.pool && { dataPool }),
  };
  return { shape, ...(data.note !== undefined && { note: data.note }) };
}

/** Another cluster need not have the pool that the backup's image had its data in. */
async function recordedPool(
  connection: RbdConnection,
  name: ImageName,
  dataPool: string | undefined,
  signal?: AbortSignal,
): Promise<{ readonly dataPool?: string; readonly note?: string }> {
  if (dataPool === undefined) return {};
  try {
    await findPool(connection, name, dataPool, signal);
    return { dataPool };
  } catch {
    return { note: `the data goes to pool ${name.pool}: there is no pool ${dataPool} here` };
  }
}

function wishedObjectBytes(name: ImageName, bytes: number | undefined): number | undefined {
  if (bytes === undefined) return undefined;
  const order = Math.log2(bytes);
  if (Number.isInteger(order) && order >= 12 && order <= 25) return bytes;
  const hint = 'Ceph takes powers of two from 4 KiB to 32 MiB';
  throw refused(name, `no image has objects of ${bytes} bytes`, hint, 'usage');
}

async function findPool(
  connection: RbdConnection,
  name: ImageName,
  pool: string,
  signal?: AbortSignal,
): Promise<void> {
  try {
    await askRbd(connection, {
      operation: 'look for pool of rbd image',
      name: checkImageName({ ...name, pool }),
      args: ['namespace', 'ls', '--pool', pool],
      ...(signal && { signal }),
    });
  } catch (error) {
    if (!isRbdErrno(error, ENOENT)) throw error;
    throw refused(name, `there is no pool ${pool}`, 'ceph osd lspools lists the pools');
  }
}

function refused(name: ImageName, cause: string, hint: string, kind: FailureKind = 'failed'): DatamoverError {
  return new DatamoverError({ operation: OPERATION, subject: formatImageName(name), cause, hint, kind });
}
