import { isGone } from '../../process/owner.ts';
import { commandFailure } from '../../process/spawn.ts';
import { askZfs, tableOf } from './command.ts';
import { destroyZfs } from './destroy.ts';
import { releaseStaleHolds } from './holds.ts';
import { findDataset, isMissing, restoringOf } from './inspect.ts';
import { parseZfsName } from './name.ts';
import { cloneFolder, removeStaleClones } from './read-clone.ts';

/** Takes away what transfers that were killed left on a volume, or of it. A half received filesystem stays: it can go on. */
export async function cleanUpVolume(location: string, signal?: AbortSignal): Promise<string[]> {
  const { dataset } = parseZfsName(location);
  const [there, { held, volumes }] = await Promise.all([
    findDataset(dataset, 'clean up', signal),
    survey(dataset, signal),
  ]);
  if (there === undefined) return [];
  const [owner = '', since] = restoringOf(there.properties)?.split(':') ?? [];
  if (since !== undefined && isGone(owner, Number(since) * 1000, 'one machine')) {
    await destroyZfs(dataset);
    return [`destroyed ${dataset}, which a restore that was killed had half made`];
  }
  const released = await releaseStaleHolds(held);
  const removed = await removeStaleClones(dataset, volumes, signal);
  return [
    ...released.map((snapshot) => `released ${snapshot}, which a backup that was killed had held`),
    ...removed.map((clone) => `destroyed ${clone}, which a backup that was killed had read`),
  ];
}

interface Survey {
  /** Of the dataset's snapshots those that anybody holds. */
  readonly held: readonly string[];
  /** In the folder where our clones are. */
  readonly volumes: readonly { readonly name: string; readonly origin: string }[];
}

/**
 * In one command, for each costs more than its answer. No properties of users: `zfs` prints their line ends as they are, and whoever
 * may set one on a volume of his own could write whole lines of the answer.
 */
async function survey(dataset: string, signal?: AbortSignal): Promise<Survey> {
  const columns = ['name', 'type', 'origin', 'userrefs'];
  const places = new Set([dataset, cloneFolder(dataset)]);
  const rows = await askZfs({
    operation: 'clean up',
    subject: dataset,
    args: ['list', '-Hp', '-d', '1', '-t', 'volume,snapshot', '-o', columns.join(','), ...places],
    ...(signal !== undefined && { signal }),
  }).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    // It tells of the others all the same: a delegated user may not see the folder, and a volume beside may just have gone.
    return tableOf(commandFailure(error)?.stdout ?? '');
  });
  const things = rows.map(([name = '', type = '', origin = '', holds = '']) => ({
    ...{ name, type, origin, holds: Number(holds) },
  }));
  const held = things.filter(({ name, holds }) => name.startsWith(`${dataset}@`) && holds > 0);
  return {
    held: held.map(({ name }) => name),
    volumes: things.filter(({ type }) => type === 'volume'),
  };
}
