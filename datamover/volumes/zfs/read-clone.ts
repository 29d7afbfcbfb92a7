import { randomBytes } from 'node:crypto';
import { isGone, ownerName } from '../../process/owner.ts';
import type { ByteRange, RangeContent } from '../driver.ts';
import { askZfs, runZfs } from './command.ts';
import { destroyZfs } from './destroy.ts';
import type { ZvolDevices } from './devices.ts';
import { isMissing } from './inspect.ts';
import { parentOf } from './name.ts';

/** A user property of clones that are there to be read: whose, and since when (epoch seconds). */
const READING = 'datamover.io:reading';
const MARK = 'datamover-read-';

/**
 * Reads ranges of a volume's snapshot at random. `snapdev=visible` would show the devices of all its snapshots to everybody, and is
 * the volume's own property; a clone is one device, touches nothing of the volume, and costs no space. It is gone afterwards.
 */
export async function* readThroughClone(
  of: { readonly dataset: string; readonly snapshot: string },
  ranges: readonly ByteRange[],
  devices: ZvolDevices,
  signal?: AbortSignal,
): AsyncGenerator<RangeContent> {
  if (ranges.length === 0) return;
  const clone = `${cloneFolder(of.dataset)}/${MARK}${randomBytes(6).toString('hex')}`;
  const now = Math.floor(Date.now() / 1000);
  const settings = [`${READING}=${ownerName()}:${now}`, 'readonly=on', 'volmode=dev'];
  await runZfs({
    operation: 'clone ZFS snapshot',
    subject: of.snapshot,
    args: ['clone', ...settings.flatMap((setting) => ['-o', setting]), of.snapshot, clone],
    ...(signal !== undefined && { signal }),
  });
  try {
    yield* devices.readRanges(await devices.appear(clone, signal), ranges, signal);
  } finally {
    await destroyZfs(clone);
  }
}

/** Where clones of a dataset's snapshots are made. */
export function cloneFolder(dataset: string): string {
  return parentOf(dataset) ?? dataset;
}

/** Of the volumes in that folder, destroys clones of the dataset's snapshots whose readers are no more. Gives their names. */
export async function removeStaleClones(
  dataset: string,
  volumes: readonly { readonly name: string; readonly origin: string }[],
  signal?: AbortSignal,
): Promise<string[]> {
  const removed: string[] = [];
  for (const { name, origin } of volumes) {
    if (!name.startsWith(`${cloneFolder(dataset)}/${MARK}`) || !origin.startsWith(`${dataset}@`)) continue;
    const [owner = '', since] = (await readerOf(name, signal))?.split(':') ?? [];
    if (since === undefined || !isGone(owner, Number(since) * 1000, 'one machine')) continue;
    await destroyZfs(name);
    removed.push(name);
  }
  return removed;
}

/** Undefined where nobody is, or the clone went meanwhile. */
async function readerOf(clone: string, signal?: AbortSignal): Promise<string | undefined> {
  const rows = await askZfs({
    operation: 'look at clone of ZFS volume',
    subject: clone,
    args: ['get', '-Hp', '-o', 'value', READING, clone],
    ...(signal !== undefined && { signal }),
  }).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return rows[0]?.[0];
}
