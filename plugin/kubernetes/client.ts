import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type { ObjectMeta } from '../../api/schema/kind.ts';
import { ApiError, isApiError, reasonOf } from './api-error.ts';
import type { Configuration } from './configuration.ts';
import type { Resource } from './resources.ts';

/** Velero gives the whole call ten minutes; a server that is away for seconds must not fail an item. */
const TRIES = 4;
const FIRST_PAUSE_MS = 250;
const ANSWER_MS = 30_000;
/** Every process has its own; an item needs few. */
const CONNECTIONS = 8;
const PAGE = 500;

interface Call {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  /** The beginning of an error's sentence. */
  readonly doing: string;
}

/** An object to be made. */
export type Made<T> = Omit<T, 'apiVersion' | 'kind' | 'status' | 'metadata'> & {
  readonly metadata: ObjectMeta & { readonly name: string };
};

/**
 * As much of a Kubernetes client as actions need. Every request is one that may be sent twice: names are given, patches say the whole
 * value; so it is sent again when the server did not answer or cannot answer now.
 */
export class KubernetesClient {
  readonly #configuration: Configuration;
  readonly #signal: AbortSignal | undefined;
  readonly #agent: https.Agent;

  constructor(configuration: Configuration, options: { signal?: AbortSignal; agent?: https.Agent } = {}) {
    this.#configuration = configuration;
    this.#signal = options.signal;
    this.#agent = options.agent ?? new https.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  }

  /** The same connections, for a call of Velero's that `signal` ends. */
  until(signal: AbortSignal): KubernetesClient {
    return new KubernetesClient(this.#configuration, { signal, agent: this.#agent });
  }

  /** Undefined when there is no such object or no such kind. */
  async get<T>(resource: Resource<T>, namespace: string | undefined, name: string): Promise<T | undefined> {
    const call = { method: 'GET', ...at(resource, namespace, name, 'get') } as const;
    return (await orMissing(this.#send(call))) as T | undefined;
  }

  /** Of a namespace, or of the whole cluster; undefined when there is no such kind. */
  async list<T>(
    resource: Resource<T>,
    namespace: string | undefined,
    labelSelector?: string,
  ): Promise<readonly T[] | undefined> {
    const { path, doing } = at(resource, namespace, undefined, 'list');
    const items: T[] = [];
    for (let next = ''; ;) {
      const query = new URLSearchParams({ limit: String(PAGE) });
      if (labelSelector !== undefined) query.set('labelSelector', labelSelector);
      if (next !== '') query.set('continue', next);
      const answer = await orMissing(
        this.#send({ method: 'GET', path: `${path}?${query.toString()}`, doing }),
      );
      if (answer === undefined) return undefined;
      const page = answer as { readonly items?: readonly T[]; readonly metadata?: { continue?: string } };
      items.push(...(page.items ?? []));
      next = page.metadata?.continue ?? '';
      if (next === '') return items;
    }
  }

  /** The object that was made, or the one of this name that was there already. */
  async create<T>(resource: Resource<T>, object: Made<T>): Promise<T> {
    const { namespace, name } = object.metadata;
    const { group, version, kind } = resource;
    const body = { apiVersion: group === '' ? version : `${group}/${version}`, kind, ...object };
    const { doing } = at(resource, namespace, name, 'create');
    const { path } = at(resource, namespace, undefined, 'create');
    try {
      return (await this.#send({ method: 'POST', path, body, doing })) as T;
    } catch (error) {
      if (!isApiError(error, 'exists')) throw error;
      const found = await this.get(resource, namespace, name);
      if (found === undefined) throw error;
      return found;
    }
  }

  /** A JSON merge patch (RFC 7386); undefined when there is no such object. */
  async merge<T>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    body: object,
  ): Promise<T | undefined> {
    const call = { ...at(resource, namespace, name, 'change'), body };
    return (await orMissing(
      this.#send({ method: 'PATCH', contentType: 'application/merge-patch+json', ...call }),
    )) as T | undefined;
  }

  /** Nothing happens when it is gone, or when the name belongs to another object than that with `uid`. */
  async delete<T>(
    resource: Resource<T>,
    namespace: string,
    name: string,
    uid: string | undefined,
  ): Promise<void> {
    const body = uid === undefined ? {} : { preconditions: { uid } };
    try {
      await orMissing(this.#send({ method: 'DELETE', ...at(resource, namespace, name, 'delete'), body }));
    } catch (error) {
      if (!isApiError(error, 'conflict')) throw error;
    }
  }

  async #send(call: Call): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(call);
      } catch (error) {
        if (attempt === TRIES || !isApiError(error, 'unavailable', 'unreachable')) throw error;
        if (this.#signal?.aborted === true) throw error;
        await delay(FIRST_PAUSE_MS * 2 ** (attempt - 1), undefined, { signal: this.#signal }).catch(() => {
          throw error;
        });
      }
    }
  }

  async #once({ method, path, body, contentType, doing }: Call): Promise<unknown> {
    const { server, tls } = this.#configuration;
    const sent = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    let response: IncomingMessage;
    let received: Buffer;
    try {
      const bearer = await this.#configuration.authorization();
      const call = https.request(server + path, {
        ...tls,
        method,
        agent: this.#agent,
        // `timeout` is of silence on the socket.
        timeout: ANSWER_MS,
        ...(this.#signal === undefined ? {} : { signal: this.#signal }),
        headers: {
          accept: 'application/json',
          'user-agent': 'velero-plugin-datamover',
          ...(bearer === undefined ? {} : { authorization: bearer }),
          ...(sent === undefined
            ? {}
            : { 'content-type': contentType ?? 'application/json', 'content-length': sent.length }),
        },
      });
      call.on('timeout', () => call.destroy(new Error(`no answer for ${ANSWER_MS / 1000} seconds`)));
      response = await new Promise((resolve, reject) => {
        call.once('response', resolve);
        call.on('error', reject);
        call.end(sent);
      });
      received = await buffer(response);
    } catch (error) {
      const said = error instanceof Error ? error.message || error.name : String(error);
      throw new ApiError(doing, 'unreachable', `${server} does not answer: ${said}`);
    }
    return understand(doing, response.statusCode ?? 500, received.toString('utf8'));
  }
}

function understand(doing: string, code: number, text: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Whatever stands between us and the API server: shown as it is.
    throw new ApiError(doing, code < 400 ? 'unavailable' : reasonOf(code, undefined), plain(code, text));
  }
  if (code < 300) return parsed;
  const status = parsed as { readonly reason?: string; readonly message?: string } | null;
  throw new ApiError(doing, reasonOf(code, status?.reason), status?.message ?? plain(code, text));
}

function plain(code: number, text: string): string {
  return `HTTP status ${code} ${text.trim().slice(0, 200)}`.trim();
}

async function orMissing(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (isApiError(error, 'missing')) return undefined;
    throw error;
  }
}

function at(
  { group, version, plural, kind }: Resource<unknown>,
  namespace: string | undefined,
  name: string | undefined,
  verb: string,
): { readonly path: string; readonly doing: string } {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const inside = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  const one = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  const subject = [kind, [namespace, name].filter((part) => part !== undefined).join('/')];
  return {
    path: `${root}${inside}/${plural}${one}`,
    doing: `${verb} ${subject.filter((part) => part !== '').join(' ')}`,
  };
}
