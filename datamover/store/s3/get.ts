import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

import { memoryFor } from '../answer.ts';
import { StoreFailure } from '../failure.ts';
import type { ByteRange, LoadOptions, Pace } from '../store.ts';
import type { Connection } from './connection.ts';
import { exchange, type Outline } from './exchange.ts';
import type { Call, Watch } from './watch.ts';

/** Fetches an object or a part of it by node:http, which understands every answer. */
export function get(connection: Connection, outline: Outline, options: LoadOptions): Promise<Uint8Array> {
  return exchange(
    connection,
    outline,
    async (outgoing) => {
      outgoing.end();
    },
    async (answer, watch) => {
      const length = bodyLength(answer.statusCode ?? 0, answer.headers, options.range, outline);
      if (length === undefined) return copyInto(await collect(answer, watch), options, outline);
      const memory = memoryFor(length, options.into, outline.subject);
      const received = await receive(answer, memory, watch, options.pace);
      if (received !== length) throw broken(outline, `${received} bytes came instead of ${length}`);
      return memory;
    },
  );
}

export function rangeHeader(range: ByteRange | undefined): { Range?: string } {
  return range === undefined ? {} : { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
}

/**
 * The number of bytes that a successful answer announces, checked against those asked for. Undefined where a whole file comes in
 * chunks of unknown number.
 */
export function bodyLength(
  status: number,
  headers: IncomingHttpHeaders,
  range: ByteRange | undefined,
  call: Call,
): number | undefined {
  const announced = headers['content-length'];
  if (range === undefined) return announced === undefined ? undefined : Number(announced);
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '') ?? [];
  if (status !== 206 || Number(from) !== range.offset) {
    throw failure(call, 'refused', 'the server does not answer with the part of the file that was asked for');
  }
  const end = range.offset + range.length;
  if (end > Number(total)) {
    throw failure(call, 'range', `bytes ${range.offset} to ${end} are not within the file's ${total}`);
  }
  if (announced !== undefined && Number(announced) !== range.length) {
    throw broken(call, `${announced} bytes were announced instead of ${range.length}`);
  }
  return range.length;
}

/** Copies the body into `memory`; the number of bytes that came, which is more than `memory` holds if too many came. */
function receive(
  answer: IncomingMessage,
  memory: Uint8Array,
  watch: Watch,
  pace: Pace | undefined,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let at = 0;
    answer.on('data', (chunk: Buffer) => {
      watch.moved();
      if (at + chunk.length <= memory.length) memory.set(chunk, at);
      at += chunk.length;
      const waiting = pace?.(chunk.length);
      if (waiting !== undefined) {
        answer.pause();
        void watch.outside(waiting).then(() => answer.resume());
      }
    });
    answer.on('end', () => resolve(at));
    answer.on('error', reject);
  });
}

async function collect(answer: IncomingMessage, watch: Watch): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    watch.moved();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function copyInto(bytes: Buffer, { into }: LoadOptions, { subject }: Call): Uint8Array {
  const memory = memoryFor(bytes.length, into, subject);
  memory.set(bytes);
  return memory;
}

function broken(call: Call, cause: string): StoreFailure {
  return failure(call, 'broken', cause);
}

function failure(
  { operation, subject }: Call,
  reason: 'broken' | 'refused' | 'range',
  cause: string,
): StoreFailure {
  return new StoreFailure({ operation, subject, cause, reason });
}
