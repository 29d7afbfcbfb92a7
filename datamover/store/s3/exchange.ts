import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';

import { cancelled, StoreFailure, stopIfAborted } from '../failure.ts';
import type { Connection, RequestKind } from './connection.ts';
import { answerFailure, networkFailure } from './failures.ts';

/** Enough of an error document to find code, message and region in it. */
const ERROR_BODY_LIMIT = 64 * 1024;

export interface Outline {
  readonly operation: string;
  readonly subject: string;
  readonly kind: RequestKind;
  readonly options: RequestOptions;
  readonly signal?: AbortSignal | undefined;
}

/** A request under way: watches that bytes move and that the caller still wants it, and ends it otherwise. */
export class Wire {
  readonly outgoing: ClientRequest;
  readonly #outline: Outline;
  readonly #stallMs: number;
  #timer: NodeJS.Timeout;
  /** Why we ended it ourselves; the socket's own error then says nothing more. */
  #ended: StoreFailure | undefined;

  constructor(connection: Connection, outline: Outline) {
    this.#outline = outline;
    this.#stallMs = connection.stallMs;
    this.outgoing = connection.request(outline.kind, outline.options);
    this.#timer = setTimeout(this.#stalled, this.#stallMs);
    outline.signal?.addEventListener('abort', this.#aborted, { once: true });
  }

  /** Bytes have moved. */
  moved(): void {
    this.#timer.refresh();
  }

  /** Waits for something that is not the server's fault. */
  async outside(waiting: Promise<void>): Promise<void> {
    clearTimeout(this.#timer);
    await waiting;
    this.#timer = setTimeout(this.#stalled, this.#stallMs);
  }

  failure(error: unknown): StoreFailure {
    return this.#ended ?? networkFailure(this.#outline.operation, this.#outline.subject, error);
  }

  done(): void {
    clearTimeout(this.#timer);
    this.#outline.signal?.removeEventListener('abort', this.#aborted);
  }

  readonly #aborted = (): void => {
    this.#end(cancelled(this.#outline.operation, this.#outline.subject));
  };

  readonly #stalled = (): void => {
    const { operation, subject } = this.#outline;
    const cause = `no byte moved for ${this.#stallMs / 1000} s`;
    this.#end(new StoreFailure({ operation, subject, cause, reason: 'stalled' }));
  };

  #end(failure: StoreFailure): void {
    this.#ended ??= failure;
    this.outgoing.destroy(failure);
  }
}

/**
 * One request and its answer. `send` writes the body and ends the request; it must come back when the answer is there before it
 * is done. `receive` gets a successful answer. A kept-alive connection that the server had closed meanwhile is replaced once.
 */
export async function exchange<T>(
  connection: Connection,
  outline: Outline,
  send: (wire: Wire) => Promise<void>,
  receive: (answer: IncomingMessage, wire: Wire) => Promise<T>,
): Promise<T> {
  stopIfAborted(outline.signal, outline.operation, outline.subject);
  for (let fresh = false; ; fresh = true) {
    const wire = new Wire(connection, outline);
    let answer: IncomingMessage | undefined;
    try {
      [answer] = await Promise.all([answered(wire.outgoing), send(wire)]);
      wire.moved();
      const status = answer.statusCode ?? 0;
      if (status >= 300) {
        throw answerFailure(outline.operation, outline.subject, {
          ...{ status, headers: answer.headers, body: await readError(answer) },
        });
      }
      return await receive(answer, wire);
    } catch (error) {
      const failure = wire.failure(error);
      const closedWhileIdle =
        answer === undefined && failure.reason === 'broken' && wire.outgoing.reusedSocket;
      if (!closedWhileIdle || fresh) throw failure;
    } finally {
      wire.done();
      if (answer?.complete !== true || !wire.outgoing.writableFinished) wire.outgoing.destroy();
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
