import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { DatamoverError, describeCause } from '../errors.ts';
import type { Arena } from '../repository/saver/arena.ts';
import { CellFeeder } from '../repository/saver/cell-feeder.ts';
import type { FeederMessage, FeederStart } from '../repository/saver/messages.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import { readInput, type ByteSink } from '../repository/saver/stream-input.ts';
import { SCRATCH_BYTES } from '../volumes/zfs/fletcher4.ts';
import type { CellSink, TouchedCell } from '../volumes/zfs/image-patch.ts';
import { SendStream } from '../volumes/zfs/send-stream.ts';
import { ZvolImage } from '../volumes/zfs/zvol-image.ts';
import type { ZvolThreadData, ZvolThreadNote } from './zvol-backup.ts';

/** Reads a send stream into the shared memory, where its checksum is computed and from where its blocks go into cells. */
class ZvolFeed implements ByteSink, CellSink {
  readonly #feeder: CellFeeder;
  readonly #image: ZvolImage;
  readonly #stream: SendStream;
  readonly #buffer: Buffer;
  readonly #freed: { first: number; count: number }[] = [];
  #cells = 0;

  constructor(feeder: CellFeeder, arena: Arena, { base }: ZvolThreadData) {
    this.#feeder = feeder;
    this.#image = new ZvolImage({ cellBytes: CELL_BYTES, sink: this, ...(base && { base }) });
    this.#stream = new SendStream(this.#image, { memory: arena.memory, scratch: arena.input });
    const at = arena.input + SCRATCH_BYTES;
    this.#buffer = Buffer.from(arena.memory.buffer, at, arena.inputBytes - SCRATCH_BYTES);
  }

  space(): Buffer | undefined {
    return this.#feeder.control.stopped ? undefined : this.#buffer;
  }

  filled(count: number): void {
    if (this.#feeder.control.stopped) return;
    this.#feeder.control.count('read', count);
    this.#stream.push(this.#buffer.subarray(0, count));
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

  end(): { cells: number; bytes: number; note: ZvolThreadNote } {
    this.#stream.end();
    this.#feeder.end();
    const facts = this.#image.facts();
    return { cells: this.#cells, bytes: this.#stream.bytes, note: { facts, freed: this.#freed } };
  }
}

async function main(port: MessagePort, start: FeederStart): Promise<void> {
  const send = (message: FeederMessage): void => port.postMessage(message);
  const feeder = new CellFeeder(start, port);
  try {
    const feed = new ZvolFeed(feeder, start.arena, start.data as ZvolThreadData);
    await readInput(start.input, feed, feeder.control, (pid) => send({ kind: 'producer', pid }));
    if (feeder.control.stopped) return;
    const { cells, bytes, note } = feed.end();
    send({ kind: 'note', note });
    send({ kind: 'end', bytes, blobs: cells });
  } catch (error) {
    if (feeder.control.stopped) return;
    feeder.control.stop();
    send({ kind: 'failed', ...asSentence(error) });
  }
}

/** An error in the two parts that a message takes; together they are its sentence. */
function asSentence(error: unknown): { operation: string; cause: string } {
  if (!(error instanceof DatamoverError))
    return { operation: 'read the stream', cause: describeCause(error) };
  const { operation, subject, message } = error;
  const place = subject === undefined ? operation : `${operation} ${subject}`;
  return { operation: place, cause: message.slice(place.length + 2) };
}

if (parentPort) {
  const port = parentPort;
  void main(port, workerData as FeederStart).finally(() => port.close());
}
