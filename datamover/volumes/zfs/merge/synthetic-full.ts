import { Refusal } from '../../refusal.ts';
import type { BeginRecord } from '../record.ts';
import { checkMergeable } from './chain-check.ts';
import { fullKeys, HeaderFields } from './headers.ts';
import { MergedOutput } from './merged-output.ts';
import { mergeObject } from './object-merge.ts';
import { copied, StreamCursor, type WholeRecord } from './stream-cursor.ts';

/** Dnodes of one block (DNODES_PER_BLOCK, for dnodes of 512 bytes): zfs send frees them to its end. */
const OBJECTS_PER_BLOCK = 32;

/** A stream of the chain, and the object numbers that it has freed last. */
class ChainLink {
  readonly cursor: StreamCursor;
  #goneFrom = 0;
  #goneTo = 0;

  constructor(cursor: StreamCursor) {
    this.cursor = cursor;
  }

  /** Ranges come in ascending order: one that does not touch the last takes its place. */
  frees(from: number, to: number): void {
    if (to <= from) return;
    if (from > this.#goneTo) this.#goneFrom = from;
    this.#goneTo = Math.max(this.#goneTo, to);
  }

  hasFreed(object: number): boolean {
    return object >= this.#goneFrom && object < this.#goneTo;
  }

  /** The number of the next object or freed range. */
  get next(): number {
    const { record } = this.cursor.head;
    if (record.type === 'OBJECT') return record.object;
    if (record.type === 'FREEOBJECTS' || record.type === 'OBJECT_RANGE') return record.firstObject;
    if (record.type === 'END') return Infinity;
    throw this.cursor.refusal(`a ${record.type} record does not follow its object`);
  }
}

/**
 * Merges a chain of send streams, the full one first and each increment behind the one that it builds on, into one full stream of
 * the last snapshot: what a receiver has after it is what it has after the chain. No pool is needed. All streams are read at
 * once, from their beginnings to their ends, and one record of each is kept. A chunk is only read until the next of its stream is asked for.
 *
 * All checksums are verified on the way, and the last chunk, in which END is, comes only after each stream was found whole: what
 * stops before it is no stream to any receiver.
 * @throws DatamoverError that names the stream, where one is damaged or cannot be merged.
 */
export async function* mergeStreams(
  streams: readonly AsyncIterable<Uint8Array>[],
): AsyncGenerator<Uint8Array> {
  const chain = streams.map(
    (chunks, i) => new ChainLink(new StreamCursor(chunks, `stream ${i + 1} of ${streams.length}`)),
  );
  try {
    yield* new ChainMerge(chain).run();
  } finally {
    await Promise.all(chain.map(({ cursor }) => cursor.close()));
  }
}

class ChainMerge {
  readonly #chain: readonly ChainLink[];
  /** The end of the last object that was written. */
  #written = 1;
  /** Of raw streams the block of dnodes that the merge is in, as the newest stream has it; it is written before its first object. */
  #range:
    | { readonly link: ChainLink; readonly whole: WholeRecord; readonly first: number; written: boolean }
    | undefined;

  constructor(chain: readonly ChainLink[]) {
    this.#chain = chain;
  }

  async *run(): AsyncGenerator<Uint8Array> {
    const begins: WholeRecord<BeginRecord>[] = [];
    // Each may come from afar.
    const opened = await Promise.allSettled(this.#chain.map(({ cursor }) => cursor.open()));
    for (const [i, { cursor }] of this.#chain.entries()) {
      const begin = opened[i];
      if (begin?.status !== 'fulfilled') throw begin?.reason;
      begins.push(await this.#begin(cursor, begin.value, begins.at(-1)?.record));
    }
    const last = begins.at(-1);
    const end = this.#chain.at(-1)?.cursor;
    if (last === undefined || end === undefined) throw new Error('there are no streams to merge');
    const { bigEndian } = last.record;
    const fields = new HeaderFields(bigEndian);
    const output = new MergedOutput(bigEndian, fields, fields.toGuid(last.header));
    const features = begins.reduce((flags, { record }) => flags | record.featureFlags, 0);
    const payload = last.record.payloadBytes === 0 ? [] : [fullKeys(Buffer.concat(last.payload))];
    output.put({ record: last.record, header: fields.fullBegin(last.header, features), payload });
    for (let object = this.#next(); object !== Infinity; object = this.#next()) {
      if (await this.#takeFrees(object)) continue;
      if (await this.#takeRanges(object)) continue;
      const holders = this.#chain.filter(({ next }) => next === object);
      const gone = this.#chain.findLastIndex((link) => link.hasFreed(object));
      const alive = new Set(this.#chain.slice(gone + 1).map(({ cursor }) => cursor));
      for (const link of holders) this.#takeSlots(link, fields);
      const merging = mergeObject(
        holders.map(({ cursor }) => cursor),
        (cursor) => alive.has(cursor),
        fields,
        bigEndian,
        {
          put: (record) => {
            if (record.record.type === 'OBJECT') this.#beginObject(object, holders, output, fields);
            output.put(record);
          },
        },
      );
      for (let step = await merging.next(); ; step = await merging.next()) {
        yield* output.take();
        if (step.done !== true) continue;
        if (step.value !== undefined) this.#written = object + step.value.slots;
        break;
      }
    }
    this.#fillGap(Math.ceil(this.#written / OBJECTS_PER_BLOCK) * OBJECTS_PER_BLOCK, output, fields);
    output.put(end.head);
    yield* output.end();
  }

  async #begin(
    cursor: StreamCursor,
    begin: WholeRecord<BeginRecord>,
    before: BeginRecord | undefined,
  ): Promise<WholeRecord<BeginRecord>> {
    try {
      checkMergeable(begin.record, begin.header, before, new HeaderFields(begin.record.bigEndian));
    } catch (error) {
      throw error instanceof Refusal ? cursor.refusal(error.message, error.hint) : error;
    }
    const own = copied(begin) as WholeRecord<BeginRecord>;
    await cursor.advance();
    return own;
  }

  #next(): number {
    let next = Infinity;
    for (const link of this.#chain) next = Math.min(next, link.next);
    return next;
  }

  /** Freed ranges count before objects that begin where they do: those are older, or they come behind. */
  async #takeFrees(from: number): Promise<boolean> {
    let any = false;
    for (const link of this.#chain) {
      const { record } = link.cursor.head;
      if (record.type !== 'FREEOBJECTS' || record.firstObject !== from) continue;
      any = true;
      link.frees(from, from + record.count);
      await link.cursor.advance();
    }
    return any;
  }

  async #takeRanges(from: number): Promise<boolean> {
    let any = false;
    for (const link of this.#chain) {
      const { head: whole } = link.cursor;
      const { record } = whole;
      if (record.type !== 'OBJECT_RANGE' || record.firstObject !== from) continue;
      any = true;
      this.#range = { link, whole, first: from, written: false };
      await link.cursor.advance();
    }
    return any;
  }

  /** What comes before an object: numbers that are free, and of raw streams the block of dnodes that it is in. */
  #beginObject(
    object: number,
    holders: readonly ChainLink[],
    output: MergedOutput,
    fields: HeaderFields,
  ): void {
    const range = this.#range;
    if (range !== undefined) {
      // A block of dnodes is sealed as a whole: all of its objects are of one stream.
      if (object >= range.first + OBJECTS_PER_BLOCK || holders.at(-1) !== range.link)
        throw range.link.cursor.refusal(
          `object ${object} is not in the block of objects that came before it`,
        );
      if (!range.written) {
        this.#fillGap(range.first, output, fields);
        this.#written = Math.max(this.#written, range.first);
        output.put(range.whole);
        range.written = true;
      }
    }
    this.#fillGap(object, output, fields);
  }

  /** A dnode of several slots takes the place of those that were in them. */
  #takeSlots(link: ChainLink, fields: HeaderFields): void {
    const { record, header } = link.cursor.head;
    if (record.type !== 'OBJECT') return;
    link.frees(record.object + 1, record.object + fields.object(header).slots);
  }

  /** Object numbers that are free, as a full stream of zfs send names them. */
  #fillGap(to: number, output: MergedOutput, fields: HeaderFields): void {
    const from = this.#written;
    if (to > from) output.header(fields.freeObjects(from, to - from), 'FREEOBJECTS');
  }
}
