import { ApiError, reasonOf, type ApiStatus } from './api-error.ts';
import type { Configuration } from './configuration.ts';
import type { Draft, KubernetesObject, Stored } from './object.ts';
import { apiVersionOf, pathOf, type Place, type Resource } from './resource.ts';
import { Transport, type ApiRequest, type TransportOptions } from './transport.ts';

export interface ClientOptions extends TransportOptions {
  /** Who owns the fields that `apply` sets; a component's name. */
  readonly fieldManager: string;
}

export interface Selection {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface List<T> {
  readonly items: readonly T[];
  /** Of the whole collection: a watch from here misses nothing. */
  readonly resourceVersion: string;
  /** Asks for the next page; undefined at the last one. */
  readonly continue: string | undefined;
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  /** Nothing but how far the server has come. */
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

/** What a patch may hold of an object: any part of it; `null` takes a field away. */
export type Patch<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [K in keyof T]?: Patch<T[K]> | null }
    : T;

interface WriteOptions {
  readonly signal?: AbortSignal | undefined;
}

/** What a server-side apply asserts: the fields that this manager owns, and nothing else. */
export type Applied<T extends KubernetesObject> = Patch<Omit<Draft<T>, 'metadata'>> & {
  readonly metadata: { readonly name: string; readonly namespace?: string } & Patch<T['metadata']>;
};

/** Connects nothing yet: the first request does. */
export function makeClient(configuration: Configuration, options: ClientOptions): Client {
  const { fieldManager } = options;
  const transport = new Transport(configuration, { userAgent: fieldManager, ...options });
  return new Client(transport, configuration.namespace, fieldManager, () => undefined);
}

/** One API server, as one identity. Cheap views of it, one per kind, do the work: `client.of(SECRETS).get(…)`. */
export class Client {
  /** The pod's or the kubeconfig's own. */
  readonly namespace: string;
  readonly #transport: Transport;
  readonly #fieldManager: string;
  readonly #guard: () => void;

  constructor(transport: Transport, namespace: string, fieldManager: string, guard: () => void) {
    this.namespace = namespace;
    this.#transport = transport;
    this.#fieldManager = fieldManager;
    this.#guard = guard;
  }

  of<T extends KubernetesObject>(resource: Resource<T>): KindClient<T> {
    return new KindClient(resource, this.#transport, this.#fieldManager, this.#guard);
  }

  /** The same client, which calls `guard` before it sends anything but a read: what the guard throws stops the write. */
  guarded(guard: () => void): Client {
    return new Client(this.#transport, this.namespace, this.#fieldManager, guard);
  }

  /** Closes kept connections; watches end with their signals. */
  close(): void {
    this.#transport.close();
  }
}

/** The objects of one kind. Every method throws an ApiError. */
export class KindClient<T extends KubernetesObject> {
  readonly resource: Resource<T>;
  readonly #transport: Transport;
  readonly #fieldManager: string;
  readonly #guard: () => void;

  constructor(resource: Resource<T>, transport: Transport, fieldManager: string, guard: () => void) {
    this.resource = resource;
    this.#transport = transport;
    this.#fieldManager = fieldManager;
    this.#guard = guard;
  }

  /** `namespace` is undefined for what belongs to no namespace. */
  async get(namespace: string | undefined, name: string, options: WriteOptions = {}): Promise<Stored<T>> {
    return this.#one({ method: 'GET', ...options }, 'get', { namespace, name });
  }

  /** One page, or everything without a `limit`. */
  async list(
    selection: Selection & { readonly limit?: number; readonly continue?: string | undefined } = {},
  ): Promise<List<Stored<T>>> {
    const { namespace, signal, labelSelector, fieldSelector, limit } = selection;
    const answer = (await this.#transport.request({
      ...this.#address('list', { namespace }),
      method: 'GET',
      query: { labelSelector, fieldSelector, limit, continue: selection.continue },
      signal,
    })) as { items?: Stored<T>[] | null; metadata: { resourceVersion: string; continue?: string } };
    const { resourceVersion, continue: next } = answer.metadata;
    const { kind } = this.resource;
    const apiVersion = apiVersionOf(this.resource);
    // Objects in lists do not say what they are.
    const items = (answer.items ?? []).map((item) => ({ ...item, apiVersion, kind }));
    return { items, resourceVersion, continue: next === '' ? undefined : next };
  }

  /**
   * Changes from `resourceVersion` on, until the server ends it (`timeoutSeconds`). A version that is no longer known throws `gone`, also in the middle. `silenceMs` without an event or bookmark is a
   * dead connection.
   */
  async *watch(
    selection: Selection & {
      readonly resourceVersion: string;
      readonly timeoutSeconds: number;
      readonly silenceMs: number;
    },
  ): AsyncGenerator<WatchEvent<Stored<T>>, void> {
    const { namespace, signal, labelSelector, fieldSelector, resourceVersion, timeoutSeconds } = selection;
    const address = this.#address('watch', { namespace });
    const stream = this.#transport.stream(
      {
        ...address,
        method: 'GET',
        query: {
          ...{ watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds },
          ...{ labelSelector, fieldSelector },
        },
        signal,
      },
      selection.silenceMs,
    );
    for await (const line of stream) yield this.#event(line, address);
  }

  async create(object: Draft<T>, options: WriteOptions = {}): Promise<Stored<T>> {
    const { namespace, name } = object.metadata;
    return this.#one(
      { method: 'POST', body: this.#typed(object), ...options },
      'create',
      { namespace },
      name,
    );
  }

  /** Replaces the object; with a `resourceVersion` in it only when it is still that one (else `conflict`). */
  async update(
    object: Draft<T>,
    options: WriteOptions & { readonly subresource?: string } = {},
  ): Promise<Stored<T>> {
    const { namespace, name } = object.metadata;
    const { subresource, signal } = options;
    const place = { namespace, name, subresource };
    return this.#one({ method: 'PUT', body: this.#typed(object), signal }, 'update', place);
  }

  /**
   * Changes some fields (JSON merge patch). A `metadata.resourceVersion` in it makes it conditional: `conflict` when the object
   * has changed.
   */
  async patch(
    namespace: string | undefined,
    name: string,
    patch: Patch<T>,
    options: WriteOptions & { readonly subresource?: string } = {},
  ): Promise<Stored<T>> {
    const { subresource, signal } = options;
    const contentType = 'application/merge-patch+json';
    return this.#one({ method: 'PATCH', body: patch, contentType, signal }, 'patch', {
      ...{ namespace, name, subresource },
    });
  }

  /**
   * Server-side apply: this manager owns exactly these fields from now on, and those it owned before and are not among them are
   * taken away. Makes the object when it is not there. `force` takes fields from other managers instead of a `conflict`.
   */
  async apply(
    object: Applied<T>,
    options: WriteOptions & { readonly subresource?: string; readonly force?: boolean } = {},
  ): Promise<Stored<T>> {
    const { namespace, name } = object.metadata;
    const { subresource, force = true, signal } = options;
    return this.#one(
      {
        method: 'PATCH',
        query: { fieldManager: this.#fieldManager, force },
        body: this.#typed(object),
        contentType: 'application/apply-patch+yaml',
        signal,
      },
      'apply',
      { namespace, name, subresource },
    );
  }

  /**
   * Server-side apply of the status alone. Fields of the status that other managers own stay. A missing object is not made:
   * `missing`.
   */
  async applyStatus(
    namespace: string | undefined,
    name: string,
    status: T extends { readonly status?: infer S } ? Patch<NonNullable<S>> : never,
    options: WriteOptions = {},
  ): Promise<Stored<T>> {
    const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
    const object: unknown = { metadata, status };
    return this.apply(object as Applied<T>, { ...options, subresource: 'status' });
  }

  /** Asks for deletion; resolves also when finalizers hold the object. `uid` and `resourceVersion` make it conditional. */
  async delete(
    namespace: string | undefined,
    name: string,
    options: WriteOptions & {
      readonly uid?: string;
      readonly resourceVersion?: string;
      readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
    } = {},
  ): Promise<void> {
    const { uid, resourceVersion, propagation = 'Background', signal } = options;
    this.#guard();
    await this.#transport.request({
      ...this.#address('delete', { namespace, name }),
      method: 'DELETE',
      body: {
        ...{ apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: propagation },
        preconditions: { uid, resourceVersion },
      },
      signal,
    });
  }

  async #one(
    request: Pick<ApiRequest, 'method' | 'query' | 'body' | 'contentType' | 'signal'>,
    operation: string,
    place: Place,
    subject = place.name,
  ): Promise<Stored<T>> {
    if (request.method !== 'GET') this.#guard();
    const address = this.#address(operation, { ...place });
    const query = {
      fieldManager: request.method === 'GET' ? undefined : this.#fieldManager,
      ...request.query,
    };
    const named = subject === undefined ? {} : { subject: this.#subject(place.namespace, subject) };
    return (await this.#transport.request({ ...address, ...request, ...named, query })) as Stored<T>;
  }

  #address(operation: string, place: Place): Pick<ApiRequest, 'path' | 'operation' | 'subject'> {
    const subject = this.#subject(place.namespace, place.name);
    return { path: pathOf(this.resource, place), operation, subject };
  }

  #subject(namespace: string | undefined, name: string | undefined): string {
    const where = [namespace, name].filter((part) => part !== undefined).join('/');
    return where === '' ? this.resource.kind : `${this.resource.kind} ${where}`;
  }

  #typed(object: object): object {
    return { ...object, apiVersion: apiVersionOf(this.resource), kind: this.resource.kind };
  }

  #event(line: unknown, address: Pick<ApiRequest, 'operation' | 'subject'>): WatchEvent<Stored<T>> {
    const { type, object } = line as { type: string; object: Stored<T> & ApiStatus };
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED':
        return { type, object };
      case 'BOOKMARK':
        return { type, resourceVersion: object.metadata.resourceVersion };
      default: {
        // An ERROR event carries a Status in the object's place.
        const cause = object.message ?? `an event of type ${type}`;
        throw new ApiError({ ...address, cause, reason: reasonOf(object.code ?? 500, object) });
      }
    }
  }
}
