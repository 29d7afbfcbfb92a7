import { DatamoverError } from '../../../errors.ts';
import type { ObjectRecord } from '../record.ts';
import { Refusal } from '../../refusal.ts';
import type { HeaderFields } from './headers.ts';
import { dropsContent, type ObjectShape } from './object-change.ts';
import { copied, type StreamCursor, type WholeRecord } from './stream-cursor.ts';

/** Where records go. */
export interface RecordSink {
  put(record: WholeRecord): void;
}

/** An object as one stream tells of it. */
interface Version {
  readonly cursor: StreamCursor;
  readonly object: WholeRecord;
  readonly shape: ObjectShape;
  /** What is freed past the object's end. */
  readonly tail: WholeRecord | undefined;
  readonly tailFrom: number;
  /** What this stream freed last: older blocks there are gone. */
  freedFrom: number;
  freedTo: number;
}

/** Reads what stands before the blocks: the object, what is freed past its end, a spill block that did not change. */
async function readVersion(
  cursor: StreamCursor,
  fields: HeaderFields,
  bigEndian: boolean,
): Promise<Version & { readonly spill: WholeRecord | undefined }> {
  const object = copied(cursor.head);
  const { record } = object;
  if (record.type !== 'OBJECT') throw new Error(`${cursor.name} stands at no object`);
  await cursor.advance();
  let tail: WholeRecord | undefined;
  let tailFrom = Infinity;
  const next = cursor.head;
  if (
    next.record.type === 'FREE' &&
    next.record.object === record.object &&
    next.record.length === Infinity
  ) {
    tail = next;
    tailFrom = next.record.offset;
    await cursor.advance();
  }
  const spill = cursor.head.record.type === 'SPILL' ? copied(cursor.head) : undefined;
  if (spill !== undefined) await cursor.advance();
  return {
    ...{ cursor, object, tail, tailFrom, spill, freedFrom: 0, freedTo: 0 },
    shape: shapeOf(object, record, fields, tailFrom, bigEndian),
  };
}

function shapeOf(
  { header, payload }: WholeRecord,
  { object, objectType, blockBytes }: ObjectRecord,
  fields: HeaderFields,
  contentBytes: number,
  bigEndian: boolean,
): ObjectShape {
  const bonus = Buffer.concat(payload);
  return { ...fields.object(header), object, objectType, blockBytes, contentBytes, bonus, bigEndian };
}

/** Passes over what is left of an object. */
async function skipParts(cursor: StreamCursor): Promise<void> {
  while (nextOffset(cursor) !== Infinity || cursor.head.record.type === 'SPILL') await cursor.advance();
}

/** Where the next block or hole is; Infinity where there is none. */
function nextOffset({ head: { record } }: StreamCursor): number {
  if (record.type === 'WRITE' || record.type === 'FREE') return record.offset;
  return record.type === 'WRITE_EMBEDDED' ? (record.offset ?? Infinity) : Infinity;
}

/**
 * Merges one object, at which the cursors given stand, the oldest first; of those that are not alive nothing is left. Of its dnode
 * the newest state counts, of each block and of the spill block the newest that is not freed later. Yields when the output may be
 * taken; returns the object as it is now.
 */
export async function* mergeObject(
  cursors: readonly StreamCursor[],
  isAlive: (cursor: StreamCursor) => boolean,
  fields: HeaderFields,
  bigEndian: boolean,
  output: RecordSink,
): AsyncGenerator<undefined, ObjectShape | undefined> {
  const spills = new Map<StreamCursor, WholeRecord>();
  let live: Version[] = [];
  const dead: StreamCursor[] = [];
  for (const cursor of cursors) {
    const { spill, ...version } = await readVersion(cursor, fields, bigEndian);
    if (spill !== undefined) {
      // The older ones are not needed again.
      spills.clear();
      spills.set(cursor, spill);
    }
    const had = live.at(-1);
    if (!isAlive(cursor)) {
      dead.push(cursor);
      continue;
    }
    if (had !== undefined && drops(cursor, had.shape, version.shape)) {
      dead.push(...live.map((older) => older.cursor));
      live = [];
    }
    live.push(version);
  }
  for (const cursor of dead) await skipParts(cursor);
  const newest = live.at(-1);
  if (newest === undefined) return undefined;
  output.put(newest.object);
  if (newest.tail !== undefined) output.put(newest.tail);
  yield* mergeBlocks(live, output);
  for (const { cursor } of live) {
    if (cursor.head.record.type !== 'SPILL') continue;
    spills.set(cursor, copied(cursor.head));
    await cursor.advance();
  }
  if (newest.shape.hasSpill) output.put(newestSpill(live, spills, newest));
  return newest.shape;
}

function drops(cursor: StreamCursor, had: ObjectShape, gets: ObjectShape): boolean {
  try {
    return dropsContent(had, gets);
  } catch (error) {
    throw error instanceof Refusal ? cursor.refusal(error.message, error.hint) : error;
  }
}

async function* mergeBlocks(live: readonly Version[], output: RecordSink): AsyncGenerator<undefined> {
  /** The block that was written last, and the number of its stream. */
  const last = { end: 0, number: 0 };
  for (;;) {
    let at = Infinity;
    for (const { cursor } of live) at = Math.min(at, nextOffset(cursor));
    if (at === Infinity) return;
    // What is freed counts before a block at the same place: it may be an older stream's.
    if (await takeFrees(live, at, last)) continue;
    const blocks: Block[] = [];
    for (const [number, { cursor }] of live.entries()) {
      const { head } = cursor;
      const { record } = head;
      if ((record.type === 'WRITE' || record.type === 'WRITE_EMBEDDED') && record.offset === at)
        blocks.push({ number, block: head, end: at + record.length });
    }
    const newest = newestBlock(live, blocks, at);
    if (newest !== undefined) {
      last.end = newest.end;
      last.number = newest.number;
      output.put(newest.block);
    }
    for (const { number } of blocks) await live[number]?.cursor.advance();
    yield;
  }
}

/** A block of one stream, by its number among the live ones. */
interface Block {
  readonly number: number;
  readonly block: WholeRecord;
  readonly end: number;
}

/** Of the blocks at one place, the oldest first, what is to be written; undefined where all of it is freed. */
function newestBlock(live: readonly Version[], blocks: readonly Block[], at: number): Block | undefined {
  const newest = blocks.at(-1);
  if (newest === undefined) return undefined;
  // Only where -L was not given do blocks differ in length: what a shorter one leaves of an older must have gone.
  for (const { number, end } of blocks)
    if (end > newest.end && !isFreed(live, number, newest.end, end)) throw overlap(live, number, at);
  if (isFreed(live, newest.number, at, newest.end)) return undefined;
  if (touchesFreed(live, newest.number, at, newest.end)) throw overlap(live, newest.number, at);
  return newest;
}

async function takeFrees(
  live: readonly Version[],
  at: number,
  last: { readonly end: number; readonly number: number },
): Promise<boolean> {
  let any = false;
  for (const [number, version] of live.entries()) {
    const { record } = version.cursor.head;
    if (record.type !== 'FREE' || record.offset !== at) continue;
    any = true;
    if (at < last.end && last.number < number) throw overlap(live, number, at);
    // Ranges of one stream ascend: one that does not touch the last takes its place.
    if (at > version.freedTo) version.freedFrom = at;
    version.freedTo = Math.max(version.freedTo, at + record.length);
    await version.cursor.advance();
  }
  return any;
}

/** Whether a stream after this one has freed all that lies there. */
function isFreed(live: readonly Version[], number: number, from: number, to: number): boolean {
  return live.some(
    ({ tailFrom, freedFrom, freedTo }, i) =>
      i > number && (from >= tailFrom || (from >= freedFrom && to <= freedTo)),
  );
}

/** Whether one has freed a part of it, as far as that is known: a range that begins behind `from` comes later. */
function touchesFreed(live: readonly Version[], number: number, from: number, to: number): boolean {
  return live.some(
    ({ tailFrom, freedTo }, i) => i > number && (to > tailFrom || (from < freedTo && freedTo > 0)),
  );
}

function overlap(live: readonly Version[], number: number, at: number): DatamoverError {
  const cursor = live[number]?.cursor;
  const cause = `a part of it at ${at} overlaps one of another stream without covering it`;
  return cursor === undefined
    ? new DatamoverError({ operation: 'merge ZFS send streams', cause })
    : cursor.refusal(`object ${live[number]?.shape.object ?? 0}: ${cause}`, 'send a full stream');
}

/** The newest spill block that was not lost meanwhile. */
function newestSpill(
  live: readonly Version[],
  spills: ReadonlyMap<StreamCursor, WholeRecord>,
  newest: Version,
): WholeRecord {
  const lost = live.findLastIndex(({ shape }) => !shape.hasSpill);
  for (const { cursor } of live.slice(lost + 1).reverse()) {
    const found = spills.get(cursor);
    if (found !== undefined) return found;
  }
  throw newest.cursor.refusal(
    `object ${newest.shape.object} has attributes of its own in a spill block, which no stream of the chain has`,
    'zfs send -e may lose them (openzfs/zfs#18239): send a full stream without -e',
  );
}
