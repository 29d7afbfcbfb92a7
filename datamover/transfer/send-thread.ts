import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { Control } from '../repository/saver/control.ts';
import type { Arena } from '../repository/saver/arena.ts';
import type { ReaderMessage, ReaderStart } from '../repository/saver/messages.ts';
import { SlabCutter } from '../repository/saver/slab-cutter.ts';
import { readInput, type ByteSink } from '../repository/saver/stream-input.ts';
import { SendStream } from '../volumes/zfs/send-stream.ts';
import { StreamIdentity, type StreamFacts } from '../volumes/zfs/stream-facts.ts';
import type { SendThreadData } from './chain-backup.ts';
import { asSentence } from './thread-failure.ts';

/** Reads a send stream's records where its bytes lie before they are cut, so that every byte is looked at but none is copied. */
class SendFeed implements ByteSink {
  readonly #cutter: SlabCutter;
  readonly #identity: StreamIdentity;
  readonly #stream: SendStream;
  #space: Buffer | undefined;

  constructor(cutter: SlabCutter, arena: Arena, { base }: SendThreadData) {
    this.#cutter = cutter;
    this.#identity = new StreamIdentity(base);
    this.#stream = new SendStream(
      this.#identity,
      { memory: arena.memory, scratch: arena.input },
      // Kept as it is, a stream need not be understood, only told apart.
      'pass',
    );
  }

  space(): Buffer | undefined {
    this.#space = this.#cutter.space();
    return this.#space;
  }

  filled(count: number): void {
    if (this.#space !== undefined) this.#stream.push(this.#space.subarray(0, count));
    this.#cutter.filled(count);
  }

  end(): StreamFacts | undefined {
    this.#stream.end();
    this.#cutter.end();
    return this.#identity.facts;
  }
}

async function main(
  port: MessagePort,
  { arena, control: handle, input, cut, data }: ReaderStart,
): Promise<void> {
  const send = (message: ReaderMessage): void => port.postMessage(message);
  const control = new Control(handle);
  try {
    const cutter = new SlabCutter(arena, control, cut);
    const feed = new SendFeed(cutter, arena, data as SendThreadData);
    await readInput(input, feed, control, (pid) => send({ kind: 'producer', pid }));
    if (control.stopped) return;
    send({ kind: 'note', note: feed.end() });
    send({ kind: 'end', bytes: cutter.bytes, blobs: cutter.blobs });
  } catch (error) {
    if (control.stopped) return;
    control.stop();
    send({ kind: 'failed', ...asSentence(error) });
  }
}

if (parentPort) {
  const port = parentPort;
  void main(port, workerData as ReaderStart).finally(() => port.close());
}
