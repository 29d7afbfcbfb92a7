import { Control } from '../repository/saver/control.ts';
import type { Arena } from '../repository/saver/arena.ts';
import type { ReaderMessage, ReaderStart } from '../repository/saver/messages.ts';
import { SideFile } from '../repository/saver/side-file.ts';
import { SlabCutter } from '../repository/saver/slab-cutter.ts';
import { readInput, type ByteSink } from '../repository/saver/stream-input.ts';
import { runThread } from '../repository/saver/thread-start.ts';
import { Refusal } from '../volumes/refusal.ts';
import { partOf, PayloadRule } from '../volumes/zfs/payload-rule.ts';
import type { SendRecord } from '../volumes/zfs/record.ts';
import { SendStream, type SendStreamHandler } from '../volumes/zfs/send-stream.ts';
import { StreamIdentity } from '../volumes/zfs/stream-facts.ts';
import type { SendThreadData, SentStream } from './chain-backup.ts';
import { asSentence } from './thread-failure.ts';

/**
 * Reads a send stream's records where its bytes lie before they are cut. Headers and small payloads are copied out to the file
 * beside; blocks move up where those were, so that what is cut are blocks alone (docs/format.md, F-56).
 */
class SendFeed implements ByteSink, SendStreamHandler {
  readonly #cutter: SlabCutter;
  readonly #records: SideFile;
  readonly #identity: StreamIdentity;
  readonly #stream: SendStream;
  /** What a reader will go by. */
  readonly #rule = new PayloadRule();
  #space: Buffer = Buffer.alloc(0);
  /** Bytes of blocks at the beginning of the space. */
  #blocks = 0;

  constructor(cutter: SlabCutter, records: SideFile, arena: Arena, { base }: SendThreadData) {
    this.#cutter = cutter;
    this.#records = records;
    this.#identity = new StreamIdentity(base);
    this.#stream = new SendStream(
      this,
      { memory: arena.memory, scratch: arena.input },
      // Kept as it is, a stream need not be understood, only told apart.
      'pass',
    );
  }

  space(): Buffer | undefined {
    const space = this.#cutter.space();
    this.#space = space ?? this.#space;
    return space;
  }

  filled(count: number): void {
    this.#blocks = 0;
    this.#stream.push(this.#space.subarray(0, count));
    this.#cutter.filled(this.#blocks);
  }

  record(record: SendRecord): void {
    this.#identity.record(record);
    const header = this.#stream.header();
    const view = new DataView(header.buffer, header.byteOffset, header.length);
    const { part, bytes } = this.#rule.next(view, 0);
    // Before anything of it is kept: a stream that reads otherwise than it was written would never come back.
    if (part !== partOf(record) || bytes !== record.payloadBytes)
      throw new Refusal(`the payload of a ${record.type} record is not where the format puts it: a defect`);
    this.#records.add(header);
  }

  payload(record: SendRecord, bytes: Uint8Array): void {
    if (partOf(record) === 'records') {
      this.#records.add(bytes);
      return;
    }
    const from = bytes.byteOffset - this.#space.byteOffset;
    // Never over what has not been read yet: blocks are a part of the bytes up to here.
    if (from > this.#blocks) this.#space.copyWithin(this.#blocks, from, from + bytes.length);
    this.#blocks += bytes.length;
  }

  end(): SentStream | undefined {
    this.#stream.end();
    this.#records.end();
    this.#cutter.end();
    const { facts } = this.#identity;
    return facts && { facts, recordBytes: this.#records.bytes };
  }
}

runThread(async ({ arena, control: handle, input, cut, data }: ReaderStart, port) => {
  const send = (message: ReaderMessage): void => port.postMessage(message);
  const control = new Control(handle);
  try {
    const cutter = new SlabCutter(arena, control, cut);
    const records = new SideFile(arena, control);
    const feed = new SendFeed(cutter, records, arena, data as SendThreadData);
    await readInput(input, feed, control, (pid) => send({ kind: 'producer', pid }));
    if (control.stopped) return;
    send({ kind: 'note', note: feed.end() });
    send({
      kind: 'end',
      bytes: cutter.bytes + records.bytes,
      blobs: cutter.blobs + records.blobs,
    });
  } catch (error) {
    if (control.stopped) return;
    control.stop();
    send({ kind: 'failed', ...asSentence(error) });
  }
});
