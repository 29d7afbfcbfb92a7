import { randomBytes } from 'node:crypto';
import { isGone, ownerName } from '../../process/owner.ts';
import { askZfs, runZfs } from './command.ts';

/** `datamover:<owner>:<epoch seconds>:<random>`: a hold of ours, with the process that took it, and when. */
const TAG = /^datamover:([^:]+):(\d+):/;

/** Keeps snapshots from being destroyed (`zfs hold`), all of one pool; gives the tag to release them by. */
export async function holdSnapshots(snapshots: readonly string[], signal?: AbortSignal): Promise<string> {
  // A process may hold a snapshot more than once.
  const now = Math.floor(Date.now() / 1000);
  const tag = `datamover:${ownerName()}:${now}:${randomBytes(4).toString('hex')}`;
  try {
    await runZfs({
      operation: 'hold ZFS snapshot',
      subject: snapshots.join(' and '),
      args: ['hold', tag, ...snapshots],
      ...(signal !== undefined && { signal }),
    });
  } catch (error) {
    // The first may be held when the second is gone.
    await releaseSnapshots(tag, snapshots);
    throw error;
  }
  return tag;
}

/** Lets snapshots go; what is not held, or not there, is no failure. */
export async function releaseSnapshots(tag: string, snapshots: readonly string[]): Promise<void> {
  const release = {
    operation: 'release ZFS snapshot',
    subject: snapshots.join(' and '),
    args: ['release', tag, ...snapshots],
  };
  // It goes on behind one that it cannot let go.
  await runZfs(release).catch(async (error: unknown) => {
    for (const snapshot of snapshots) {
      const holds = await listHolds([snapshot]).catch(() => []);
      if (holds.some((hold) => hold.tag === tag)) throw error;
    }
  });
}

/** Of these snapshots, which are held, lets go what processes of ours held that are no more. Gives the snapshots. */
export async function releaseStaleHolds(held: readonly string[]): Promise<string[]> {
  const released: string[] = [];
  for (const { snapshot, tag } of await listHolds(held)) {
    const [, owner, since] = TAG.exec(tag) ?? [];
    if (owner === undefined || !isGone(owner, Number(since) * 1000)) continue;
    await releaseSnapshots(tag, [snapshot]);
    released.push(snapshot);
  }
  return released;
}

async function listHolds(snapshots: readonly string[]): Promise<{ snapshot: string; tag: string }[]> {
  if (snapshots.length === 0) return [];
  const rows = await askZfs({
    operation: 'list holds on',
    subject: snapshots.join(', '),
    args: ['holds', '-H', ...snapshots],
  });
  return rows.map(([snapshot = '', tag = '']) => ({ snapshot, tag }));
}
