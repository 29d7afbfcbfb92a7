import { AsyncLocalStorage } from 'node:async_hooks';
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';

import { StoreFailure } from '../failure.ts';
import type { Connection, RequestKind } from './connection.ts';
import { type Outline, readError, Wire } from './exchange.ts';
import { answerFailure, networkFailure } from './failures.ts';

export interface Call {
  readonly operation: string;
  readonly subject: string;
  readonly signal?: AbortSignal | undefined;
}

interface Running extends Call {
  wire?: Wire;
}

type OnAnswer = (answer: IncomingMessage) => void;

/**
 * What the package `minio` sends its requests through. The package knows no cancellation and no timeouts, prints a line for
 * each 5xx and drops the Retry-After; so every answer that is no success is turned into a StoreFailure here, before it looks.
 */
export class MinioTransport {
  readonly #connection: Connection;
  readonly #running = new AsyncLocalStorage<Running>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Runs calls of the package for one call of the store. */
  async run<T>(call: Call, work: () => Promise<T>): Promise<T> {
    const running: Running = { ...call };
    try {
      return await this.#running.run(running, work);
    } catch (error) {
      throw running.wire?.failure(error) ?? networkFailure(call.operation, call.subject, error);
    }
  }

  /** Has the shape of node:http's `request`, of which the package uses the form with options and callback. */
  readonly request = (
    options: RequestOptions | string | URL,
    second?: RequestOptions | OnAnswer,
    onAnswer: OnAnswer | undefined = typeof second === 'function' ? second : undefined,
  ): ClientRequest => {
    const running = this.#running.getStore();
    if (
      typeof options === 'string' ||
      options instanceof URL ||
      onAnswer === undefined ||
      running === undefined
    ) {
      throw new TypeError('a request outside of a call of the store');
    }
    const outline: Outline = { ...running, kind: kindOf(options), options };
    const wire = new Wire(this.#connection, outline);
    running.wire = wire;
    return wire.outgoing
      .on('close', () => wire.done())
      .on('response', (answer) => {
        const status = answer.statusCode ?? 0;
        if (status < 300) onAnswer(answer);
        else void fail(answer, status, outline, wire);
      });
  };
}

/** Hands the failure to the package as an error of its request, which it passes on untouched. */
async function fail(answer: IncomingMessage, status: number, outline: Outline, wire: Wire): Promise<void> {
  let failure: StoreFailure;
  try {
    const body = await readError(answer);
    failure = answerFailure(outline.operation, outline.subject, { status, headers: answer.headers, body });
  } catch (error) {
    failure = wire.failure(error);
  }
  wire.outgoing.emit('error', failure);
}

function kindOf({ method = 'GET', path }: RequestOptions): RequestKind {
  if (method === 'HEAD' || method === 'DELETE') return method;
  return path?.includes('list-type=2') === true ? 'LIST' : 'BUCKET';
}
