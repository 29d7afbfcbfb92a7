import { isGone } from '../../process/owner.ts';
import { askZfs } from './command.ts';
import { destroyZfs } from './destroy.ts';
import { releaseStaleHolds } from './holds.ts';
import { isMissing, RESTORING } from './inspect.ts';
import { parseZfsName } from './name.ts';
import { cloneFolder, READING, removeStaleClones, type PossibleClone } from './read-clone.ts';

/** Takes away what transfers that were killed left on a volume, or of it. A half received filesystem stays: it can go on. */
export async function cleanUpVolume(location: string, signal?: AbortSignal): Promise<string[]> {
  const { dataset } = parseZfsName(location);
  const there = await survey(dataset, signal);
  if (there === undefined) return [];
  const [owner = '', since] = there.restoring.split(':');
  if (since !== undefined && isGone(owner, Number(since) * 1000)) {
    await destroyZfs(dataset);
    return [`destroyed ${dataset}, which a restore that was killed had half made`];
  }
  const released = await releaseStaleHolds(there.held);
  const removed = await removeStaleClones(dataset, there.volumes);
  return [
    ...released.map((snapshot) => `released ${snapshot}, which a backup that was killed had held`),
    ...removed.map((clone) => `destroyed ${clone}, which a backup that was killed had read`),
  ];
}

interface Survey {
  /** Of the dataset: its property RESTORING. */
  readonly restoring: string;
  /** Of its snapshots those that anybody holds. */
  readonly held: readonly string[];
  /** In the folder where our clones are. */
  readonly volumes: readonly PossibleClone[];
}

/** All that a clean-up has to know, in one command: each costs more than its answer. Undefined where the dataset is not there. */
async function survey(dataset: string, signal?: AbortSignal): Promise<Survey | undefined> {
  const columns = ['name', 'type', 'origin', 'userrefs', READING, RESTORING];
  const places = new Set([dataset, cloneFolder(dataset)]);
  const rows = await askZfs({
    operation: 'clean up',
    subject: dataset,
    args: ['list', '-Hp', '-d', '1', '-t', 'filesystem,volume,snapshot', '-o', columns.join(','), ...places],
    ...(signal !== undefined && { signal }),
  }).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  const things = rows.map(([name = '', type = '', origin = '', holds = '', reader = '', restoring = '']) => ({
    ...{ name, type, origin, holds: Number(holds), reader, restoring },
  }));
  const own = things.find(({ name }) => name === dataset);
  if (own === undefined) return undefined;
  const held = things.filter(({ name, holds }) => name.startsWith(`${dataset}@`) && holds > 0);
  return {
    restoring: own.restoring,
    held: held.map(({ name }) => name),
    volumes: things.filter(({ type }) => type === 'volume'),
  };
}
