import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { DatamoverError, describeCause } from '../../errors.ts';
import type { StoredStream, StreamNeed, StreamTargetPlan } from '../driver.ts';
import { checkWishes } from '../wishes.ts';
import { keepBookmark, ourBookmarks } from './bookmarks.ts';
import { runZfs } from './command.ts';
import { findDataset, listMoments, number, RECEIVING, text, type Dataset, type Moment } from './inspect.ts';
import { parentOf, parseDataset } from './name.ts';
import { carried, CARRIED, checkProperties } from './properties.ts';
import { fieldOf } from './record-facts.ts';
import { readResumeToken, type ResumePoint } from './resume-token.ts';
import { resumedStream } from './resumed-stream.ts';

export interface ReceivePlan extends StreamTargetPlan {
  /** Where the first of the streams goes on that was interrupted. */
  readonly resume?: ResumePoint;
  /** The full stream takes the place of what is there (`receive -F`, which an interrupted one needs again). */
  readonly replaces: boolean;
  /** The guid of the backup's last stream: the dataset's newest snapshot in the end. */
  readonly last: string;
  /** Guids of snapshots that do not stay on a dataset that was there, whose quota they would take: the newest becomes a bookmark. */
  readonly passing?: readonly string[];
  /** To set: at the beginning, or at the end where they are about room. */
  readonly properties: Readonly<Record<string, string>>;
}

const OPERATION = 'restore to ZFS dataset';
/** How long a receive that was killed may take to end. */
const SETTLING_MS = 30_000;
const POLL_MS = 100;
/** Room may be needed at once, or may be short, for these: they are set when all is received. */
const RESERVED = ['reservation', 'refreservation'];
const LAST = ['quota', 'refquota', 'reservation', 'refreservation'];

/**
 * Says which streams a dataset still needs: none of it is there yet, or a restore of the same streams was interrupted (their
 * snapshots tell with our mark, and the resume token of a partial one). Anything else there is refused, as is a pool without room; with
 * `force` an unmounted dataset without snapshots loses what it has, and keeps its properties (zfs-localpv makes such ones).
 */
export async function planReceive(
  location: string,
  need: StreamNeed,
  signal?: AbortSignal,
): Promise<ReceivePlan> {
  const dataset = parseDataset(location);
  checkWishes(dataset, need.wishes, ['thick', 'properties'], 'a ZFS dataset that is received');
  checkProperties(dataset, need.wishes?.properties);
  const last = need.streams.at(-1)?.guid;
  if (last === undefined) throw refusal(dataset, 'the backup has no stream', 'restore another backup');
  const there = await findDataset(dataset, OPERATION, signal);
  if (there === undefined) {
    await checkRoom(dataset, parentOf(dataset), need.record, signal);
    const properties = propertiesOf(dataset, need);
    const action = 'create';
    return { location: dataset, action, replaces: false, streams: need.streams, last, properties };
  }
  const { force = false, wishes } = need;
  const properties = force ? { ...wishes?.properties } : propertiesOf(dataset, need);
  const common = {
    ...{ location: dataset, last, properties },
    ...(force && { passing: need.streams.map(({ guid }) => guid) }),
  };
  const snapshots = (await listMoments(dataset, signal)).filter(({ kind }) => kind === 'snapshot');
  const known = need.streams.findLastIndex(({ guid }) =>
    snapshots.some((snapshot) => snapshot.guid === guid),
  );
  const streams = need.streams.slice(known + 1);
  const newest = snapshots.at(-1);
  if (newest !== undefined && newest.guid !== need.streams[known]?.guid) {
    throw refusal(
      dataset,
      `it has ${newest.name}, which is none of this backup`,
      'name a dataset that is not there yet',
    );
  }
  const token = text(there.properties, 'receive_resume_token');
  if (token === undefined) {
    if (newest !== undefined) {
      checkOurs(there, newest);
      return { ...common, action: 'resume', replaces: false, streams };
    }
    if (!force) throw refusal(dataset, 'it exists', 'name a dataset that is not there yet, or use --force');
    checkUnused(there);
    await checkRoom(dataset, dataset, need.record, signal);
    return { ...common, action: 'overwrite', replaces: true, streams };
  }
  const resume = readResumeToken(token);
  if (streams[0]?.guid === resume.toGuid && streams[0].fromGuid === resume.fromGuid) {
    return { ...common, action: 'resume', replaces: force, streams, resume };
  }
  throw refusal(
    dataset,
    `an interrupted receive of another stream (guid ${resume.toGuid}) waits there`,
    `go on with that one, or give it up: zfs receive -A ${dataset}`,
  );
}

/** Of the backup, if they had been set, and of the wishes over them. */
function propertiesOf(dataset: string, { record, wishes }: StreamNeed): Record<string, string> {
  const thick = wishes?.thick;
  const isVolume = fieldOf(record, 'type') === 'volume';
  if (thick === true && !isVolume) {
    throw refusal(
      dataset,
      'a filesystem has no size that could be reserved',
      'use --property reservation=BYTES',
    );
  }
  const names = CARRIED.filter((name) => thick !== false || !RESERVED.includes(name));
  return {
    ...carried(fieldOf(record, 'properties'), names),
    ...(thick === true && { refreservation: 'auto' }),
    ...wishes?.properties,
  };
}

/**
 * Snapshots of the backup on a dataset say nothing of a restore: it may be the one that was backed up, with live data that
 * changed since. Only what a restore has begun goes on, and only while nobody uses it.
 */
function checkOurs(there: Dataset, { name: snapshot }: Moment): void {
  const { name, properties } = there;
  const rollBack = `zfs rollback ${snapshot} brings back what it had then`;
  if (properties.get(RECEIVING)?.source !== 'local') {
    const hint = `name a dataset that is not there yet; ${rollBack}`;
    throw refusal(name, `it has ${snapshot} of this backup, and no restore has begun it`, hint);
  }
  checkUnused(there);
  if ((number(properties, 'written') ?? 0) > 0)
    throw refusal(name, `it has changed since ${snapshot}, which a restore received`, rollBack);
}

function checkUnused({ name, properties }: Dataset): void {
  if (text(properties, 'mounted') === 'yes')
    throw refusal(name, 'it is mounted', `stop what uses it: zfs unmount ${name}`);
}

/**
 * Receives the streams one after the other, each so that it can go on when it is interrupted (`zfs receive -s`), and not
 * mounted. `onBytes` hears how many bytes of the streams have been handed over.
 */
export async function receiveStreams(
  plan: ReceivePlan,
  onBytes: (bytes: number) => void = () => undefined,
  signal?: AbortSignal,
): Promise<void> {
  const { location: dataset, properties } = plan;
  if (plan.action === 'overwrite') await mark(plan);
  for (const [index, stream] of plan.streams.entries()) {
    const resume = index === 0 ? plan.resume : undefined;
    if (resume === undefined) await receive(plan, stream, undefined, onBytes, signal);
    else {
      await goOn(plan, stream, resume, onBytes, signal);
      await mark(plan);
    }
  }
  await checkReceived(plan);
  for (const name of LAST.filter((property) => properties[property] !== undefined)) {
    await runZfs({
      operation: OPERATION,
      subject: dataset,
      args: ['set', `${name}=${properties[name] ?? ''}`, dataset],
      ...(signal !== undefined && { signal }),
    });
  }
  if (plan.passing !== undefined) await letGo(dataset, plan.passing);
  await runZfs({ operation: OPERATION, subject: dataset, args: ['inherit', RECEIVING, dataset] });
}

/** By which the next restore knows this one, if it ends between two streams. A new dataset is born with it. */
async function mark({ location: dataset, last }: ReceivePlan): Promise<void> {
  await runZfs({ operation: OPERATION, subject: dataset, args: ['set', `${RECEIVING}=${last}`, dataset] });
}

/** `zfs receive` ends well also where it did nothing. */
async function checkReceived({ location: dataset, last }: ReceivePlan): Promise<void> {
  const newest = (await listMoments(dataset)).filter(({ kind }) => kind === 'snapshot').at(-1);
  if (newest?.guid === last) return;
  const found = newest === undefined ? 'it has no snapshot' : `its newest snapshot is ${newest.name}`;
  throw refusal(
    dataset,
    `${found} when all is received, not the one with guid ${last}`,
    'let nothing else change the dataset meanwhile, and restore to another name',
  );
}

/** A later backup of the dataset builds on the bookmark. */
async function letGo(dataset: string, guids: readonly string[]): Promise<void> {
  const moments = await listMoments(dataset);
  const received = moments.filter(({ kind, guid }) => kind === 'snapshot' && guids.includes(guid));
  const newest = received.at(-1);
  if (newest !== undefined)
    await keepBookmark(dataset, newest.name, newest.guid, ourBookmarks(dataset, moments));
  for (const { name } of received)
    await runZfs({ operation: 'remove ZFS snapshot', subject: name, args: ['destroy', name] });
}

async function receive(
  { location: dataset, action, replaces, properties, last }: ReceivePlan,
  stream: StoredStream,
  resume: ResumePoint | undefined,
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const isNew = stream.fromGuid === undefined && resume === undefined;
  const isOver = stream.fromGuid === undefined && replaces;
  const first = Object.entries(isNew ? properties : {}).filter(([name]) => !LAST.includes(name));
  if (isNew && action === 'create') first.push([RECEIVING, last]);
  const settings = first.flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const whole = stream.open(signal);
  const bytes = resume === undefined ? whole : resumedStream(whole, resume);
  const input = Readable.from(counted(bytes, onBytes), { objectMode: false });
  await runZfs({
    operation: OPERATION,
    subject: dataset,
    args: ['receive', '-s', '-u', ...(isOver ? ['-F'] : []), ...settings, dataset],
    input,
    ...(signal !== undefined && { signal }),
  }).finally(() => input.destroy());
}

/** EBUSY, and what libzfs says for it and for any EINVAL of a receive that can be resumed (libzfs_sendrecv.c). */
const UNSETTLED = /busy|partially-complete state|kernel modules must be upgraded/;

/**
 * Goes on with an interrupted receive. One that was killed a moment ago may still be at work in the kernel: then the dataset is
 * busy, or the place has moved on when we come there, which ZFS refuses, at times before it tells the new one; or it comes to its end.
 */
async function goOn(
  plan: ReceivePlan,
  stream: StoredStream,
  from: ResumePoint,
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + SETTLING_MS;
  for (let place = from; ;) {
    try {
      await receive(plan, stream, place, onBytes, signal);
      return;
    } catch (error) {
      const now = await placeOf(plan.location);
      // What had been handed over before it was killed was all of the stream.
      if (now === undefined && (await hasArrived(plan.location, stream.guid))) return;
      const moved = now?.toGuid === place.toGuid && !isDeepStrictEqual(now, place);
      if (Date.now() > deadline || !(moved || UNSETTLED.test(describeCause(error)))) throw error;
      place = now ?? place;
      await delay(POLL_MS, undefined, signal && { signal });
    }
  }
}

async function hasArrived(dataset: string, guid: string): Promise<boolean> {
  const moments = await listMoments(dataset);
  return moments.some((moment) => moment.kind === 'snapshot' && moment.guid === guid);
}

async function placeOf(dataset: string): Promise<ResumePoint | undefined> {
  const there = await findDataset(dataset, OPERATION);
  const token = there && text(there.properties, 'receive_resume_token');
  return token === undefined ? undefined : readResumeToken(token);
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    onBytes(chunk.length);
    yield chunk;
  }
}

/** What the newest snapshot took where it came from is the least that it needs; `place` is where that much must be available. */
async function checkRoom(
  dataset: string,
  place: string | undefined,
  record: unknown,
  signal?: AbortSignal,
): Promise<void> {
  if (place === undefined)
    throw refusal(dataset, 'it is a pool', `name a dataset in it: ${dataset}/restored`);
  const there = await findDataset(place, OPERATION, signal);
  if (there === undefined) throw refusal(dataset, `there is no ${place}`, `zfs create -p ${place}`);
  const available = number(there.properties, 'available') ?? Infinity;
  const needed = fieldOf(record, 'referencedBytes');
  if (typeof needed !== 'number' || needed <= available) return;
  throw refusal(
    dataset,
    `the backup took ${needed} bytes, and ${place} has ${available} available`,
    'free space, raise the quota, or choose another pool',
  );
}

function refusal(subject: string, cause: string, hint: string): DatamoverError {
  return new DatamoverError({ operation: OPERATION, subject, cause, hint });
}
