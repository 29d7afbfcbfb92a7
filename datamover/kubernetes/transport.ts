import type http from 'node:http';
import https from 'node:https';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, reasonOf, type ApiStatus } from './api-error.ts';
import type { Configuration } from './configuration.ts';

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  /** Of the body; `application/json` without it. */
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
  /** For the error's sentence: `get`, `VolumeSnapshotBackup ns/name`. */
  readonly operation: string;
  readonly subject: string;
}

export interface TransportOptions {
  /** Connections at most that requests share; each watch has one of its own besides. */
  readonly connections?: number;
  /** Milliseconds without a sign of life after which an answer is given up. */
  readonly timeoutMs?: number;
  readonly userAgent?: string;
}

/** Times that a request is sent again which the server has refused as one too many. */
const THROTTLED_TRIES = 8;
const KEEP_ALIVE_MS = 30_000;

/** JSON over HTTP to one API server, on connections that are kept and shared. */
export class Transport {
  readonly #configuration: Configuration;
  readonly #timeoutMs: number;
  readonly #userAgent: string;
  readonly #requests: https.Agent;
  readonly #watches: https.Agent;

  constructor(configuration: Configuration, options: TransportOptions = {}) {
    this.#configuration = configuration;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#userAgent = options.userAgent ?? 'datamover';
    const kept = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS };
    this.#requests = new https.Agent({ ...kept, maxSockets: options.connections ?? 16 });
    this.#watches = new https.Agent({ ...kept, maxFreeSockets: 4 });
  }

  /** Sends a request and gives the parsed answer. Throws an ApiError. */
  async request(request: ApiRequest): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#send(request, this.#requests);
        return parse(await readAll(alive(response, this.#timeoutMs)));
      } catch (cause) {
        const error = describe(request, cause);
        // Refused unread (429): sending it again does nothing twice.
        if (error.retryAfterMs === undefined || attempt === THROTTLED_TRIES) throw error;
        await delay(error.retryAfterMs, undefined, { signal: request.signal }).catch(() => {
          throw error;
        });
      }
    }
  }

  /**
   * Sends a request whose answer is a stream of JSON lines. Ends when the server ends it; throws an ApiError when it is cut off or
   * silent for longer than `silenceMs`.
   */
  async *stream(request: ApiRequest, silenceMs: number): AsyncGenerator<unknown, void> {
    try {
      const response = await this.#send(request, this.#watches);
      for await (const line of lines(alive(response, silenceMs))) yield parse(line);
    } catch (cause) {
      throw describe(request, cause);
    }
  }

  /** Closes the connections that nobody uses; those of watches end with their signals. */
  close(): void {
    this.#requests.destroy();
    this.#watches.destroy();
  }

  async #send(request: ApiRequest, agent: https.Agent): Promise<http.IncomingMessage> {
    const { server, kubeConfig } = this.#configuration;
    const url = new URL(server + request.path);
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const options: https.RequestOptions = { headers: {} };
    await kubeConfig.applyToHTTPSOptions(options);
    // client-node's agents keep no connections; they are for proxies alone.
    if (kubeConfig.getCurrentCluster()?.proxyUrl === undefined) options.agent = agent;
    const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
    options.method = request.method;
    options.headers = {
      ...(options.headers as http.OutgoingHttpHeaders),
      accept: 'application/json',
      'user-agent': this.#userAgent,
      ...(body === undefined
        ? {}
        : { 'content-type': request.contentType ?? 'application/json', 'content-length': body.length }),
    };
    if (request.signal !== undefined) options.signal = request.signal;
    return this.#exchange(url, options, body, request.method === 'GET');
  }

  async #exchange(
    url: URL,
    options: https.RequestOptions,
    body: Buffer | undefined,
    repeatable: boolean,
  ): Promise<http.IncomingMessage> {
    const call = https.request(url, options);
    const response = await new Promise<http.IncomingMessage | 'stale'>((resolve, reject) => {
      call.setTimeout(this.#timeoutMs, () => {
        reject(new Error(`no answer for ${this.#timeoutMs} ms`));
        call.destroy();
      });
      call.once('response', resolve);
      call.on('error', (error) => {
        // The server closed a kept connection at the moment of its next use.
        if (repeatable && call.reusedSocket && !options.signal?.aborted) resolve('stale');
        else reject(error);
      });
      call.end(body);
    });
    if (response === 'stale') return this.#exchange(url, { ...options, agent: false }, body, false);
    call.setTimeout(0);
    if ((response.statusCode ?? 500) < 300) return response;
    throw new Refusal(response, parseStatus(await readAll(alive(response, this.#timeoutMs))));
  }
}

/** An answer that is a failure, before it is put into a sentence. */
class Refusal extends Error {
  readonly code: number;
  readonly status: ApiStatus;
  readonly retryAfterMs: number | undefined;

  constructor(response: http.IncomingMessage, status: ApiStatus) {
    super(status.message ?? `HTTP status ${response.statusCode ?? 0}`);
    this.code = response.statusCode ?? 500;
    this.status = status;
    const seconds = Number(response.headers['retry-after']);
    this.retryAfterMs = this.code === 429 && seconds >= 0 ? Math.min(seconds, 30) * 1000 : undefined;
  }
}

function describe(request: ApiRequest, cause: unknown): ApiError {
  if (cause instanceof ApiError) return cause;
  const { operation, subject, signal } = request;
  if (signal?.aborted === true) {
    return new ApiError({ operation, subject, cause: 'stopped', reason: 'cancelled' });
  }
  if (cause instanceof Refusal) {
    const reason = reasonOf(cause.code, cause.status);
    return new ApiError({ operation, subject, cause, reason, retryAfterMs: cause.retryAfterMs });
  }
  return new ApiError({ operation, subject, cause, reason: 'unreachable' });
}

function parse(text: string): unknown {
  return JSON.parse(text) as unknown;
}

/** Proxies in between answer with anything. */
function parseStatus(text: string): ApiStatus {
  try {
    const status = parse(text) as ApiStatus | null;
    if (status?.kind === 'Status') return status;
  } catch {
    // Not JSON: shown as it is.
  }
  return text.trim() === '' ? {} : { message: text.trim().slice(0, 200) };
}

/** The chunks of a body, which is broken off when none comes for so long. */
async function* alive(response: http.IncomingMessage, silenceMs: number): AsyncGenerator<Buffer, void> {
  const silence = setTimeout(() => response.destroy(new Error(`silent for ${silenceMs} ms`)), silenceMs);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      silence.refresh();
      yield chunk;
    }
  } finally {
    clearTimeout(silence);
  }
}

async function readAll(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** The lines of a body; an unfinished last one is no line. */
async function* lines(body: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new StringDecoder('utf8');
  let pending: string[] = [];
  for await (const chunk of body) {
    const [first = '', ...rest] = decoder.write(chunk).split('\n');
    pending.push(first);
    for (const next of rest) {
      yield pending.join('');
      pending = [next];
    }
  }
}
