import { AsyncLocalStorage } from 'node:async_hooks';
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';

import type { StoreFailure } from '../failure.ts';
import type { Connection, RequestKind } from './connection.ts';
import { readError } from './exchange.ts';
import { answerFailure, networkFailure } from './failures.ts';
import { Watch, type Call } from './watch.ts';

interface Running extends Call {
  watch?: Watch;
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
      throw running.watch?.failure(error) ?? networkFailure(call.operation, call.subject, error);
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
    const outgoing = this.#connection.request(kindOf(options), options);
    const watch = new Watch(running, this.#connection.stallMs, (failure) => outgoing.destroy(failure));
    running.watch = watch;
    return outgoing
      .on('close', () => watch.done())
      .on('response', (answer) => {
        if ((answer.statusCode ?? 0) < 300) onAnswer(answer);
        else void failureOf(answer, running, watch).then((failure) => outgoing.emit('error', failure));
      });
  };
}

/** What an answer that is no success means; the package passes it on untouched as an error of its request. */
async function failureOf(answer: IncomingMessage, call: Call, watch: Watch): Promise<StoreFailure> {
  try {
    const { statusCode: status = 0, headers } = answer;
    return answerFailure(call.operation, call.subject, { status, headers, body: await readError(answer) });
  } catch (error) {
    return watch.failure(error);
  }
}

function kindOf({ method = 'GET', path }: RequestOptions): RequestKind {
  if (method === 'HEAD' || method === 'DELETE') return method;
  return path?.includes('list-type=2') === true ? 'LIST' : 'BUCKET';
}
