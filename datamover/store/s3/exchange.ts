import type { ClientRequest, IncomingMessage } from 'node:http';

import { stopIfAborted } from '../failure.ts';
import type { Target } from './address.ts';
import type { Connection } from './connection.ts';
import { answerFailure } from './failures.ts';
import { Watch, type Call } from './watch.ts';

/** Enough of an error document to find code, message and region in it. */
const ERROR_BODY_LIMIT = 64 * 1024;

/** One signed request. */
export interface Outline extends Call {
  readonly kind: 'PUT' | 'GET';
  readonly target: Target;
  readonly headers: Readonly<Record<string, string | number>>;
}

/**
 * One request and its answer. `send` writes the body and ends the request; it must come back when the answer is there before it
 * is done. `receive` gets a successful answer. A kept-alive connection that the server had closed meanwhile is replaced once.
 */
export async function exchange<T>(
  connection: Connection,
  outline: Outline,
  send: (outgoing: ClientRequest, watch: Watch) => Promise<void>,
  receive: (answer: IncomingMessage, watch: Watch) => Promise<T>,
): Promise<T> {
  stopIfAborted(outline.signal, outline.operation, outline.subject);
  for (let fresh = false; ; fresh = true) {
    const { host, port, path } = outline.target;
    const outgoing = connection.request(outline.kind, {
      method: outline.kind,
      host,
      port,
      path,
      headers: outline.headers,
    });
    const watch = new Watch(outline, connection.stallMs, (failure) => outgoing.destroy(failure));
    let answer: IncomingMessage | undefined;
    try {
      [answer] = await Promise.all([answered(outgoing), send(outgoing, watch)]);
      watch.moved();
      const { statusCode: status = 0, headers } = answer;
      if (status >= 300) {
        throw answerFailure(outline.operation, outline.subject, {
          status,
          headers,
          body: await readError(answer),
        });
      }
      return await receive(answer, watch);
    } catch (error) {
      const failure = watch.failure(error);
      const closedWhileIdle = answer === undefined && failure.reason === 'broken' && outgoing.reusedSocket;
      if (!closedWhileIdle || fresh) throw failure;
    } finally {
      watch.done();
      if (answer?.complete !== true || !outgoing.writableFinished) outgoing.destroy();
    }
  }
}

function answered(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.on('error', reject);
  });
}

/** The beginning of an error document. */
export async function readError(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > ERROR_BODY_LIMIT) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}
