import { randomBytes } from 'node:crypto';
import { isGone, ownerName } from '../../process/owner.ts';
import type { ByteRange, RangeContent } from '../driver.ts';
import { runZfs } from './command.ts';
import { destroyZfs } from './destroy.ts';
import type { ZvolDevices } from './devices.ts';
import { parentOf } from './name.ts';

/** A user property of clones that are there to be read: whose, and since when (epoch seconds). */
export const READING = 'datamover.io:reading';
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

/** A volume that may be a clone which somebody reads; `reader` is its property READING. */
export interface PossibleClone {
  readonly name: string;
  readonly origin: string;
  readonly reader: string;
}

/** Where clones of a dataset's snapshots are made. */
export function cloneFolder(dataset: string): string {
  return parentOf(dataset) ?? dataset;
}

/** Of the volumes beside one, destroys clones of its snapshots whose readers are no more. Gives their names. */
export async function removeStaleClones(
  dataset: string,
  beside: readonly PossibleClone[],
): Promise<string[]> {
  const removed: string[] = [];
  for (const { name, origin, reader } of beside) {
    const [owner, since] = reader.split(':');
    const ours = name.startsWith(`${cloneFolder(dataset)}/${MARK}`) && origin.startsWith(`${dataset}@`);
    if (!ours || owner === undefined || !isGone(owner, Number(since) * 1000)) continue;
    await destroyZfs(name);
    removed.push(name);
  }
  return removed;
}
