import { randomBytes } from 'node:crypto';
import { isGone, ownerName } from '../../process/owner.ts';
import { askZfs, runZfs } from './command.ts';
import { poolOf } from './name.ts';

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

/**
 * Lets snapshots of one pool go; what is not held, or not there, is no failure. One that was renamed meanwhile, or went to a clone
 * that was promoted, took its holds along.
 */
export async function releaseSnapshots(tag: string, snapshots: readonly string[]): Promise<void> {
  // It goes on behind one that it cannot let go.
  await release(tag, snapshots).catch(async () => {
    const pool = poolOf(snapshots[0] ?? '');
    const left = await listHeld(pool)
      .then(listHolds)
      .catch(() => []);
    const ours = left.flatMap((hold) => (hold.tag === tag ? [hold.snapshot] : []));
    if (ours.length > 0) await release(tag, ours);
  });
}

async function release(tag: string, snapshots: readonly string[]): Promise<void> {
  await runZfs({
    operation: 'release ZFS snapshot',
    subject: snapshots.join(' and '),
    args: ['release', tag, ...snapshots],
  });
}

/** Of a pool's snapshots those that anybody holds. */
async function listHeld(pool: string): Promise<string[]> {
  const counts = await askZfs({
    operation: 'look for holds in',
    subject: pool,
    args: ['list', '-Hp', '-t', 'snapshot', '-o', 'name,userrefs', '-r', pool],
  });
  return counts.flatMap(([name, count]) => (name !== undefined && Number(count) > 0 ? [name] : []));
}

/** Of these snapshots, which are held, lets go what processes of ours held that are no more. Gives the snapshots. */
export async function releaseStaleHolds(held: readonly string[]): Promise<string[]> {
  const released: string[] = [];
  for (const { snapshot, tag } of await listHolds(held)) {
    const [, owner, since] = TAG.exec(tag) ?? [];
    if (owner === undefined || !isGone(owner, Number(since) * 1000, 'one machine')) continue;
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
