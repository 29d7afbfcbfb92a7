import { isGone } from '../../process/owner.ts';
import { destroyZfs } from './destroy.ts';
import { releaseStaleHolds } from './holds.ts';
import { findDataset, RESTORING, text } from './inspect.ts';
import { parseZfsName } from './name.ts';
import { removeStaleClones } from './read-clone.ts';

/** Takes away what transfers that were killed left on a volume, or of it. A half received filesystem stays: it can go on. */
export async function cleanUpVolume(location: string, signal?: AbortSignal): Promise<string[]> {
  const { dataset } = parseZfsName(location);
  const there = await findDataset(dataset, 'clean up', signal);
  if (there === undefined) return [];
  const [owner, since] = text(there.properties, RESTORING)?.split(':') ?? [];
  if (owner !== undefined && isGone(owner, Number(since) * 1000)) {
    await destroyZfs(dataset);
    return [`destroyed ${dataset}, which a restore that was killed had half made`];
  }
  const released = await releaseStaleHolds(dataset, signal);
  const removed = there.type === 'volume' ? await removeStaleClones(dataset, signal) : [];
  return [
    ...released.map((snapshot) => `released ${snapshot}, which a backup that was killed had held`),
    ...removed.map((clone) => `destroyed ${clone}, which a backup that was killed had read`),
  ];
}
