import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { DatamoverError } from '../../errors.ts';
import { fateOf, ownerName, type Fate } from '../../process/owner.ts';
import { askRbd, isRbdErrno, runRbd, type RbdConnection } from './command.ts';
import { checkImageName, formatImageName, nameOptions, type ImageName } from './image-name.ts';
import { findWatcher } from './watchers.ts';

/** Longer than the cluster believes in somebody who does not answer (osd_client_watch_timeout). */
const WATCH_MS = 45_000;
const [ENOENT, EBUSY] = [2, 16];
/** A new image has this after its name until all of it is there: owner, seconds of the epoch, something random. */
const PARTIAL = /^(.+)\.datamover-([^.]+)-(\d+)-[0-9a-f]+$/;

/** The name of a new image while it is being restored. */
export function partialName(name: ImageName): ImageName {
  const since = Math.floor(Date.now() / 1000);
  const mark = `datamover-${ownerName()}-${since}-${randomBytes(4).toString('hex')}`;
  return checkImageName({ ...name, image: `${name.image}.${mark}` });
}

/** Removes those of a pool's images that killed restores to this place left half made. Gives their names. */
export async function removePartialImages(
  connection: RbdConnection,
  place: ImageName,
  names: readonly string[],
): Promise<string[]> {
  const removed: string[] = [];
  for (const { name, fate } of partialsOf(place, names)) {
    if (fate !== 'gone') continue;
    try {
      await removeImage(connection, name);
    } catch (error) {
      // Whoever writes to it is not gone, whatever its name and its age say: `whatIsLeft` tells of it.
      if (isRbdErrno(error, EBUSY)) continue;
      throw error;
    }
    removed.push(formatImageName(name));
  }
  return removed;
}

/** Throws where somebody restores to this place at this moment: only one of them would get the name, when all is written. */
export async function refuseRestoring(
  connection: RbdConnection,
  name: ImageName,
  signal?: AbortSignal,
): Promise<void> {
  const { pool, namespace } = name;
  const operation = 'look for half-made rbd images';
  const args = ['ls', '--pool', pool, ...(namespace === undefined ? [] : ['--namespace', namespace])];
  const asked = askRbd(connection, { operation, name, args, ...(signal && { signal }) });
  const names = await orNothing(asked);
  if (!Array.isArray(names)) return;
  const texts = names.filter((found) => typeof found === 'string');
  for (const partial of partialsOf(name, texts)) {
    if (partial.fate === 'gone') continue;
    const watcher = await orNothing(findWatcher(connection, partial.name, signal));
    if (watcher === undefined) continue;
    const who = watcher.address === undefined ? '' : ` by ${watcher.address}`;
    throw new DatamoverError({
      operation: 'restore to rbd image',
      subject: formatImageName(name),
      cause: `another restore to it is at work: ${formatImageName(partial.name)} is written${who}`,
      hint: 'wait for it, or name another image',
      kind: 'target-in-use',
    });
  }
}

/** Of what is not there, or not any more. */
async function orNothing<T>(asked: Promise<T>): Promise<T | undefined> {
  return asked.catch((error: unknown) => {
    if (isRbdErrno(error, ENOENT)) return undefined;
    throw error;
  });
}

/** One that is not there is no failure. Whoever was killed with the image open counts as its user for half a minute. */
export async function removeImage(connection: RbdConnection, name: ImageName): Promise<void> {
  const args = ['rm', '--no-progress', ...nameOptions(name)];
  for (const started = Date.now(); ;) {
    try {
      return await runRbd(connection, { operation: 'remove half-made rbd image', name, args });
    } catch (error) {
      if (isRbdErrno(error, ENOENT)) return;
      if (!isRbdErrno(error, EBUSY) || Date.now() - started > WATCH_MS) throw error;
      await delay(1000);
    }
  }
}

/** After a clean-up: those of which cannot be told whether a restore is at work on them, and those that somebody still has open. */
export function unremovedPartials(place: ImageName, names: readonly string[]): Partial[] {
  return partialsOf(place, names).filter(({ fate }) => fate !== 'lives');
}

export interface Partial {
  readonly name: ImageName;
  readonly fate: Fate;
  /** Milliseconds of the epoch. */
  readonly since: number;
}

/** Of a pool's images those that become, or were to become, this one. */
function partialsOf({ pool, namespace, image }: ImageName, names: readonly string[]): Partial[] {
  const place = { pool, ...(namespace !== undefined && { namespace }) };
  return names.flatMap((partial) => {
    const [, of, owner = '', seconds] = PARTIAL.exec(partial) ?? [];
    if (of !== image) return [];
    const since = Number(seconds) * 1000;
    const fate = fateOf(owner, since, 'many machines');
    return [{ name: checkImageName({ ...place, image: partial }), fate, since }];
  });
}
