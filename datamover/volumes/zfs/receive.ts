import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { DatamoverError, describeCause } from '../../errors.ts';
import { runZfs } from './command.ts';
import { findDataset, listMoments, number, text } from './inspect.ts';
import { parentOf, parseDataset } from './name.ts';
import { carried } from './properties.ts';
import { readResumeToken, type ResumePoint } from './resume-token.ts';
import { resumedStream } from './resumed-stream.ts';

/** One of the streams that a dataset is received from, in their order. Guids are decimal. */
export interface StoredStream {
  readonly guid: string;
  /** Undefined of a full stream. */
  readonly fromGuid?: string;
  readonly bytes: number;
  /** The stream's bytes from its beginning, each time it is asked. */
  open(signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface ReceiveNeed {
  /** A full stream and its increments, in their order. */
  readonly streams: readonly StoredStream[];
  /** What the backup recorded of the dataset; unchecked. */
  readonly record?: unknown;
  /** Properties of the new dataset, over those of the backup. */
  readonly properties?: Readonly<Record<string, string>>;
}

export interface ReceivePlan {
  readonly dataset: string;
  /** What is left to receive: nothing where all snapshots are there. */
  readonly streams: readonly StoredStream[];
  /** Where the first of them goes on that was interrupted. */
  readonly resume?: ResumePoint;
  readonly properties: Readonly<Record<string, string>>;
}

const OPERATION = 'restore to ZFS dataset';
/** What somebody may have set on a dataset and wants to have again. */
const CARRIED = [
  ...[
    'recordsize',
    'compression',
    'checksum',
    'copies',
    'dedup',
    'xattr',
    'acltype',
    'atime',
    'quota',
    'refquota',
  ],
  ...['reservation', 'refreservation', 'logbias', 'primarycache', 'sync', 'snapdev'],
];
/** How long a receive that was killed may take to end. */
const SETTLING_MS = 30_000;
const POLL_MS = 100;
/** Room may be needed at once, or may be short, for these: they are set when all is received. */
const LAST = ['quota', 'refquota', 'reservation', 'refreservation'];

/**
 * Says which streams a dataset still needs: none of it is there yet, or a restore of the same streams was interrupted (their
 * snapshots tell, and the resume token of a partial one). Anything else there is refused, as is a pool without room.
 */
export async function planReceive(
  location: string,
  need: ReceiveNeed,
  signal?: AbortSignal,
): Promise<ReceivePlan> {
  const dataset = parseDataset(location);
  const properties = { ...carried(fieldOf(need.record, 'properties'), CARRIED), ...need.properties };
  const there = await findDataset(dataset, OPERATION, signal);
  if (there === undefined) {
    await checkRoom(dataset, need.record, signal);
    return { dataset, streams: need.streams, properties };
  }
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
    if (known < 0) throw refusal(dataset, 'it exists', 'name a dataset that is not there yet');
    return { dataset, streams, properties };
  }
  const resume = readResumeToken(token);
  if (streams[0]?.guid === resume.toGuid && streams[0].fromGuid === resume.fromGuid) {
    return { dataset, streams, resume, properties };
  }
  throw refusal(
    dataset,
    `an interrupted receive of another stream (guid ${resume.toGuid}) waits there`,
    `go on with that one, or give it up: zfs receive -A ${dataset}`,
  );
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
  const { dataset, properties } = plan;
  for (const [index, stream] of plan.streams.entries()) {
    const resume = index === 0 ? plan.resume : undefined;
    if (resume === undefined) await receive(plan, stream, undefined, onBytes, signal);
    else await goOn(plan, stream, resume, onBytes, signal);
  }
  for (const name of LAST.filter((property) => properties[property] !== undefined)) {
    await runZfs({
      operation: OPERATION,
      subject: dataset,
      args: ['set', `${name}=${properties[name] ?? ''}`, dataset],
      ...(signal !== undefined && { signal }),
    });
  }
}

async function receive(
  { dataset, properties }: ReceivePlan,
  stream: StoredStream,
  resume: ResumePoint | undefined,
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const isNew = stream.fromGuid === undefined && resume === undefined;
  const first = Object.entries(isNew ? properties : {}).filter(([name]) => !LAST.includes(name));
  const settings = first.flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const whole = stream.open(signal);
  const bytes = resume === undefined ? whole : resumedStream(whole, resume);
  const input = Readable.from(counted(bytes, onBytes), { objectMode: false });
  await runZfs({
    operation: OPERATION,
    subject: dataset,
    args: ['receive', '-s', '-u', ...settings, dataset],
    input,
    ...(signal !== undefined && { signal }),
  }).finally(() => input.destroy());
}

/**
 * Goes on with an interrupted receive. One that was killed a moment ago may still be at work in the kernel: then the dataset is
 * busy, or the place has moved on when we come there, which ZFS refuses.
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
      const now = await placeOf(plan.dataset);
      const moved = now?.toGuid === place.toGuid && !isDeepStrictEqual(now, place);
      if (now === undefined || Date.now() > deadline || !(moved || describeCause(error).includes('busy')))
        throw error;
      place = now;
      await delay(POLL_MS, undefined, signal && { signal });
    }
  }
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

/** What the newest snapshot took where it came from is the least that it needs. */
async function checkRoom(dataset: string, record: unknown, signal?: AbortSignal): Promise<void> {
  const parentName = parentOf(dataset);
  if (parentName === undefined)
    throw refusal(dataset, 'it is a pool', `name a dataset in it: ${dataset}/restored`);
  const parent = await findDataset(parentName, OPERATION, signal);
  if (parent === undefined)
    throw refusal(dataset, `there is no ${parentName}`, `zfs create -p ${parentName}`);
  const available = number(parent.properties, 'available') ?? Infinity;
  const needed = fieldOf(record, 'referencedBytes');
  if (typeof needed !== 'number' || needed <= available) return;
  throw refusal(
    dataset,
    `the backup took ${needed} bytes, and ${parentName} has ${available} available`,
    'free space, raise the quota, or choose another pool',
  );
}

function fieldOf(record: unknown, name: string): unknown {
  return typeof record === 'object' && record !== null
    ? (record as Partial<Record<string, unknown>>)[name]
    : undefined;
}

function refusal(subject: string, cause: string, hint: string): DatamoverError {
  return new DatamoverError({ operation: OPERATION, subject, cause, hint });
}
