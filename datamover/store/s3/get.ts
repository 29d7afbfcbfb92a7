import type { IncomingMessage } from 'node:http';

import { memoryFor } from '../answer.ts';
import { StoreFailure } from '../failure.ts';
import type { ByteRange, LoadOptions, Pace } from '../store.ts';
import type { Connection } from './connection.ts';
import { exchange, type Outline, type Wire } from './exchange.ts';

/** Fetches an object or a part of it, straight into the caller's memory where there is some. */
export function get(connection: Connection, outline: Outline, options: LoadOptions): Promise<Uint8Array> {
  return exchange(
    connection,
    outline,
    async (wire) => {
      wire.outgoing.end();
    },
    async (answer, wire) => {
      const length = lengthOf(answer, options.range, outline);
      const memory = memoryFor(length, options.into, outline.subject);
      const received = await receiveBody(answer, memory, wire, options.pace);
      if (received !== length) throw broken(outline, `${received} bytes came instead of ${length}`);
      return memory;
    },
  );
}

export function rangeHeader(range: ByteRange | undefined): { Range?: string } {
  return range === undefined ? {} : { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
}

/** The number of bytes that the answer announces, checked against those asked for. */
function lengthOf(answer: IncomingMessage, range: ByteRange | undefined, outline: Outline): number {
  const length = Number(answer.headers['content-length'] ?? Number.NaN);
  if (!Number.isSafeInteger(length)) throw refused(outline, 'the answer does not tell its length');
  if (range === undefined) return length;
  const total = checkContentRange(answer, range, outline);
  if (length === range.length) return length;
  if (range.offset + range.length <= total)
    throw broken(outline, `${length} bytes were announced instead of ${range.length}`);
  const { operation, subject } = outline;
  const cause = `bytes ${range.offset} to ${range.offset + range.length} are not within the file's ${total}`;
  throw new StoreFailure({ operation, subject, cause, reason: 'range' });
}

/** The size of the whole file; throws where the answer is not the part that was asked for. */
function checkContentRange(answer: IncomingMessage, range: ByteRange, outline: Outline): number {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers['content-range'] ?? '');
  if (answer.statusCode !== 206 || match === null || Number(match[1]) !== range.offset) {
    throw refused(outline, 'the server does not answer with the part of the file that was asked for');
  }
  return Number(match[2]);
}

/** Copies the body into `memory`; the number of bytes that came. */
function receiveBody(
  answer: IncomingMessage,
  memory: Uint8Array,
  wire: Wire,
  pace: Pace | undefined,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let at = 0;
    answer.on('data', (chunk: Buffer) => {
      wire.moved();
      // The HTTP parser lets no more through than the Content-Length that `memory` was sized by.
      memory.set(chunk, at);
      at += chunk.length;
      const waiting = pace?.(chunk.length);
      if (waiting !== undefined) {
        answer.pause();
        void wire.outside(waiting).then(() => answer.resume());
      }
    });
    answer.on('end', () => resolve(at));
    answer.on('error', reject);
  });
}

function broken({ operation, subject }: Outline, cause: string): StoreFailure {
  return new StoreFailure({ operation, subject, cause, reason: 'broken' });
}

function refused({ operation, subject }: Outline, cause: string): StoreFailure {
  return new StoreFailure({ operation, subject, cause, reason: 'refused' });
}
