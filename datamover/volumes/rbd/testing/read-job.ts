import { createReadStream } from 'node:fs';
import type { RbdConnection } from '../command.ts';
import type { DiffHandler } from '../diff-format.ts';
import { DiffStream } from '../diff-stream.ts';
import { HeldImage } from '../held-image.ts';
import type { ReadJob } from '../read-job.ts';
import { Session } from '../session.ts';

export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Awaited after each chunk of the stream. */
  readonly drained?: () => Promise<void>;
}

/** Holds and reads as a backup does, and tells the handler what is read; it counts if the producer ended well. */
export async function readJob(
  connection: RbdConnection,
  job: ReadJob,
  handler: DiffHandler,
  { signal, drained }: ReadOptions = {},
): Promise<void> {
  const held = await HeldImage.hold(connection, new Session(connection), job, signal);
  try {
    if (held.feed.kind !== 'rbd-diff') throw new Error(`a ${held.feed.kind}`);
    const { pipe } = held.feed;
    const stream = new DiffStream(handler);
    try {
      const chunks = createReadStream('', { fd: pipe.fd, autoClose: false }) as AsyncIterable<Buffer>;
      for await (const chunk of chunks) {
        stream.push(chunk);
        await drained?.();
      }
    } catch (error) {
      await pipe.finish();
      throw error;
    }
    if ((await pipe.finish()) !== 'ended') throw new Error('cut off');
    stream.end();
  } finally {
    await held.release();
  }
}
