import { DatamoverError } from '../../errors.ts';
import type { BaseBackup, ProducerCommand, ReadPlan, ReadRequest } from '../driver.ts';
import { chooseBase, type BaseChoice } from './base.ts';
import { ourBookmarks } from './bookmarks.ts';
import { sendCommand } from './command.ts';
import type { Moment } from './inspect.ts';
import { fieldOf } from './record-facts.ts';
import type { ZfsSource } from './source.ts';

export interface ZfsRead extends ReadPlan {
  readonly source: ZfsSource;
  /** What the increment is sent from: a snapshot, or a bookmark of one that is gone. */
  readonly from?: SendFrom;
  /** Of ours on the volume, the oldest first. */
  readonly bookmarks: readonly string[];
}

export type SendFrom = Pick<Moment, 'name' | 'kind' | 'guid'>;

/**
 * The newest base that ZFS still knows, as a snapshot or a bookmark. An increment trusts birth times, which say when a block
 * was written; a full send trusts none: it follows every pointer, so it is what a distrusted volume gets. `moments`: the dataset's,
 * the oldest first.
 */
export function planSend(
  source: ZfsSource,
  { bases, mustUse, distrusted }: ReadRequest,
  moments: readonly Moment[],
): ZfsRead {
  const wanted = mustUse === undefined ? bases : bases.filter(({ snapshotId }) => snapshotId === mustUse);
  const choice: BaseChoice = distrusted
    ? { base: undefined, because: 'increments of this volume were found wrong' }
    : choose(source, wanted, moments);
  if (mustUse !== undefined && choice.base === undefined) {
    throw new DatamoverError({
      operation: 'back up',
      subject: source.location,
      cause: `ZFS cannot tell what changed since backup ${mustUse.slice(0, 8)}: ${choice.because}`,
      hint: 'leave --base out: the newest base that is left is found, or everything is read',
    });
  }
  const from = choice.base && sendFrom(choice.from);
  const whole = source.format === 'image' && distrusted !== true ? 'allocated-extents' : 'everything';
  return {
    source,
    ...(choice.base && { base: choice.base }),
    ...(from && { from }),
    changes: {
      mechanism: choice.base === undefined ? whole : 'zfs-send-increment',
      ...(choice.because !== undefined && { because: choice.because }),
    },
    bookmarks: ourBookmarks(source.dataset, moments),
  };
}

/**
 * Images are made of plain payloads. Streams are kept, so they are as small as on disk (`-c`) and have their blocks as they
 * are (`-L`); never `-e`, which loses small blocks of attributes (openzfs/zfs#18239).
 */
export function commandFor(
  { location, record, format }: ZfsSource,
  from: SendFrom | undefined,
): ProducerCommand {
  const flags = record.raw === true ? ['-w'] : format === 'image' ? [] : ['-L', '-c'];
  return sendCommand(location, from?.name, flags);
}

function choose({ record }: ZfsSource, bases: readonly BaseBackup[], moments: readonly Moment[]): BaseChoice {
  if (bases.length === 0) return { base: undefined, because: 'the volume has no backup yet' };
  const isRaw = record.raw === true;
  const fitting = bases.filter((base) => (fieldOf(base.record, 'raw') === true) === isRaw);
  if (fitting.length === 0) {
    const because = isRaw ? 'no backup of it is raw' : 'all backups of it are raw';
    return { base: undefined, because };
  }
  return chooseBase(fitting, moments, { guid: record.guid, createtxg: BigInt(record.createtxg) });
}

function sendFrom({ name, kind, guid }: Moment): SendFrom {
  return { name, kind, guid };
}
