import type { ClientRequest } from 'node:http';

import type { Pace } from '../store.ts';
import type { Connection } from './connection.ts';
import { exchange, type Outline } from './exchange.ts';
import type { Watch } from './watch.ts';

/**
 * A body is written in pieces, each after the one before has left for the kernel: TLS would else encrypt a whole pack into
 * memory at once (16 MiB for each upload, and half a GiB of RSS were seen).
 */
const TLS_PIECE = 256 * 1024;
const PLAIN_PIECE = 1024 * 1024;
const PACED_PIECE = 64 * 1024;

/** Sends `content` as the body of a signed request. */
export async function put(
  connection: Connection,
  outline: Outline,
  content: Uint8Array,
  pace?: Pace,
): Promise<void> {
  const pieceLength = pace === undefined ? (connection.secure ? TLS_PIECE : PLAIN_PIECE) : PACED_PIECE;
  const body = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  await exchange(
    connection,
    outline,
    (outgoing, watch) => sendBody(outgoing, watch, body, pieceLength, pace),
    async (answer, watch) => {
      for await (const chunk of answer as AsyncIterable<Buffer>) if (chunk.length > 0) watch.moved();
    },
  );
}

async function sendBody(
  outgoing: ClientRequest,
  watch: Watch,
  body: Buffer,
  pieceLength: number,
  pace: Pace | undefined,
): Promise<void> {
  const over = new AbortController();
  outgoing.once('response', () => over.abort()).once('close', () => over.abort());
  for (let at = 0; at < body.length && !over.signal.aborted; at += pieceLength) {
    const piece = body.subarray(at, at + pieceLength);
    const waiting = pace?.(piece.length);
    if (waiting !== undefined) await watch.outside(waiting);
    if (!outgoing.write(piece)) await drained(outgoing);
    watch.moved();
  }
  if (!over.signal.aborted) outgoing.end();
}

/** Waits until the socket took what was written, or until nothing more needs to be written. */
function drained(outgoing: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('drain', done).off('response', done).off('close', done);
      resolve();
    };
    outgoing.on('drain', done).on('response', done).on('close', done);
  });
}
