import type { MessagePort } from 'node:worker_threads';
import type { Arena } from '../repository/saver/arena.ts';
import { describeCause } from '../errors.ts';
import { SpoiledBase } from '../repository/saver/base-reader.ts';
import { CellFeeder } from '../repository/saver/cell-feeder.ts';
import type { FeederMessage, FeederStart } from '../repository/saver/messages.ts';
import { readInput, type ByteSink } from '../repository/saver/stream-input.ts';
import { runThread } from '../repository/saver/thread-start.ts';
import type { CellSink, TouchedCell } from '../volumes/image-patch.ts';
import type { FedNote, ImageFacts } from './fed-image.ts';
import { asSentence } from './thread-failure.ts';

/** Makes the cells of an image from a stream of one kind. */
export interface CellMaker {
  /** The part of the shared memory that the stream is read into. */
  readonly buffer: Buffer;
  /** The next bytes of the stream: a view of `buffer`. */
  push(chunk: Uint8Array): void;
  /** The stream is over. Throws unless it was whole. */
  end(): ImageFacts;
}

/** What a thread is started for: the shared memory, what its starter gave along, and where the cells go. */
export type MakeCells = (arena: Arena, data: unknown, sink: CellSink) => CellMaker;

/** Reads a stream into the shared memory, from where a maker's cells go to the workers. */
class CellFeed implements ByteSink, CellSink {
  readonly #feeder: CellFeeder;
  readonly #maker: CellMaker;
  readonly #freed: { first: number; count: number }[] = [];
  #cells = 0;
  #bytes = 0;

  constructor(feeder: CellFeeder, { arena, data }: FeederStart, make: MakeCells) {
    this.#feeder = feeder;
    this.#maker = make(arena, data, this);
  }

  space(): Buffer | undefined {
    return this.#feeder.control.stopped ? undefined : this.#maker.buffer;
  }

  filled(count: number): void {
    if (this.#feeder.control.stopped) return;
    this.#feeder.control.count('read', count);
    this.#bytes += count;
    this.#maker.push(this.#maker.buffer.subarray(0, count));
  }

  room(): Uint8Array {
    const room = this.#feeder.room();
    if (room === undefined) throw new Error('stopped');
    return room;
  }

  cell({ index, length, missing }: TouchedCell): void {
    this.#cells++;
    this.#feeder.give(index, length, missing);
  }

  freed(first: number, count: number): void {
    const last = this.#freed.at(-1);
    if (last !== undefined && last.first + last.count === first) last.count += count;
    else this.#freed.push({ first, count });
  }

  end(): { cells: number; bytes: number; note: FedNote<ImageFacts> } {
    const facts = this.#maker.end();
    this.#feeder.end();
    return { cells: this.#cells, bytes: this.#bytes, note: { facts, freed: this.#freed } };
  }
}

/** The whole of a thread's script. */
export function runCellThread(make: MakeCells): void {
  runThread((start: FeederStart, port) => feedCells(port, start, make));
}

async function feedCells(port: MessagePort, start: FeederStart, make: MakeCells): Promise<void> {
  const send = (message: FeederMessage): void => port.postMessage(message);
  const feeder = new CellFeeder(start, port);
  try {
    const feed = new CellFeed(feeder, start, make);
    await readInput(start.input, feed, feeder.control, (pid) => send({ kind: 'producer', pid }));
    if (feeder.control.stopped) return;
    const { cells, bytes, note } = feed.end();
    send({ kind: 'note', note });
    send({ kind: 'end', bytes, blobs: cells });
  } catch (error) {
    if (feeder.control.stopped) return;
    feeder.control.stop();
    if (error instanceof SpoiledBase)
      send({ kind: 'spoiled', cell: error.cell, cause: describeCause(error.cause) });
    else send({ kind: 'failed', ...asSentence(error) });
  }
}
