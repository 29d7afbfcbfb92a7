import { keyOf, type KubernetesObject, type Stored } from './object.ts';
import type { KindClient } from './client.ts';
import { reflect, type ReflectorOptions, type ReflectorSink } from './reflector.ts';

/** What has become of an object. */
export type Change<T> =
  | { readonly type: 'added'; readonly object: T }
  | { readonly type: 'updated'; readonly object: T; readonly previous: T }
  /** Listed again and found unchanged: a chance to look again at what depends on other things too. */
  | { readonly type: 'resynced'; readonly object: T }
  /** `object` is its last known state, which may not have been the very last when the deletion was seen only by a list. */
  | { readonly type: 'deleted'; readonly object: T };

/** Names under which objects can be found: `{ node: (vsb) => [vsb.status?.node] }`. Undefined values are left out. */
export type Indexes<T> = Readonly<Record<string, (object: T) => readonly (string | undefined)[]>>;

export interface InformerOptions<T extends KubernetesObject> extends ReflectorOptions {
  readonly indexes?: Indexes<Stored<T>>;
  /** Told of what handlers throw; the informer and the other handlers go on. */
  readonly onHandlerFailure: (error: unknown) => void;
}

/** A cache of the objects of one kind that follows the server. Objects are shared: never change one. */
export class Informer<T extends KubernetesObject> {
  readonly #objects = new Map<string, Stored<T>>();
  readonly #indexes: readonly Index<Stored<T>>[];
  readonly #handlers = new Set<(change: Change<Stored<T>>) => void>();
  readonly #onHandlerFailure: (error: unknown) => void;
  readonly #synced = Promise.withResolvers<undefined>();
  #hasSynced = false;
  #heardAt = performance.now();
  #movedAt = performance.now();
  /** Resolves when the informer has stopped, which its signal makes it do. */
  readonly stopped: Promise<void>;

  /** Begins at once. */
  constructor(client: KindClient<T>, options: InformerOptions<T>) {
    this.#onHandlerFailure = options.onHandlerFailure;
    this.#indexes = Object.entries(options.indexes ?? {}).map(
      ([name, valuesOf]) => new Index(name, valuesOf),
    );
    const sink: ReflectorSink<T> = {
      replace: (objects) => this.#replace(objects),
      change: (type, object) => {
        if (type === 'DELETED') this.#remove(keyOf(object), object);
        else this.#put(object);
      },
    };
    const moved = (): void => void (this.#movedAt = performance.now());
    const heard = (): void => {
      this.#heardAt = performance.now();
      moved();
    };
    this.stopped = reflect(client, sink, { ...options, onHeard: heard, onAttempt: moved }).finally(() =>
      this.#synced.resolve(undefined),
    );
  }

  /** Whether the cache has been filled once: before, absence means nothing. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Resolves when the cache has been filled, or when the informer has been stopped before that: ask `hasSynced`. */
  get synced(): Promise<unknown> {
    return this.#synced.promise;
  }

  /** Milliseconds since the server has last answered; it does so about every minute. */
  get silentForMs(): number {
    return performance.now() - this.#heardAt;
  }

  /** Milliseconds since anything has happened here, a failed attempt included: one that stands still for long is dead. */
  get stillForMs(): number {
    return performance.now() - this.#movedAt;
  }

  get size(): number {
    return this.#objects.size;
  }

  get(namespace: string | undefined, name: string): Stored<T> | undefined {
    return this.#objects.get(keyOf({ metadata: namespace === undefined ? { name } : { namespace, name } }));
  }

  /** `namespace/name`, as work queues carry it. */
  byKey(key: string): Stored<T> | undefined {
    return this.#objects.get(key);
  }

  list(): readonly Stored<T>[] {
    return [...this.#objects.values()];
  }

  /** The objects that an index has under this value. Throws when there is no such index. */
  byIndex(name: string, value: string): readonly Stored<T>[] {
    const index = this.#indexes.find((candidate) => candidate.name === name);
    if (index === undefined) throw new Error(`no index ${name}`);
    return [...index.keys(value)].flatMap((key) => this.#objects.get(key) ?? []);
  }

  /** Calls the handler for everything there is as `added`, and then for every change; gives what ends that. */
  onChange(handler: (change: Change<Stored<T>>) => void): () => void {
    this.#handlers.add(handler);
    for (const object of this.list()) this.#tell(handler, { type: 'added', object });
    return () => void this.#handlers.delete(handler);
  }

  #replace(objects: readonly Stored<T>[]): void {
    const present = new Set(objects.map(keyOf));
    for (const [key, object] of [...this.#objects]) if (!present.has(key)) this.#remove(key, object);
    for (const object of objects) this.#put(object);
    this.#hasSynced = true;
    this.#synced.resolve(undefined);
  }

  #put(received: Stored<T>): void {
    const object = slim(received);
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    // Deleted and made again between two looks: another object, whatever its name.
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) this.#remove(key, previous);
    const same = this.#objects.get(key);
    this.#objects.set(key, object);
    this.#index(key, object);
    if (same === undefined) this.#announce({ type: 'added', object });
    else if (same.metadata.resourceVersion === object.metadata.resourceVersion)
      this.#announce({ type: 'resynced', object });
    else this.#announce({ type: 'updated', object, previous: same });
  }

  #remove(key: string, object: Stored<T>): void {
    if (!this.#objects.delete(key)) return;
    for (const index of this.#indexes) index.remove(key);
    this.#announce({ type: 'deleted', object: slim(object) });
  }

  #index(key: string, object: Stored<T>): void {
    for (const index of this.#indexes) {
      try {
        index.put(key, object);
      } catch (error) {
        this.#onHandlerFailure(error);
      }
    }
  }

  #announce(change: Change<Stored<T>>): void {
    for (const handler of this.#handlers) this.#tell(handler, change);
  }

  #tell(handler: (change: Change<Stored<T>>) => void, change: Change<Stored<T>>): void {
    try {
      handler(change);
    } catch (error) {
      this.#onHandlerFailure(error);
    }
  }
}

/** Without what no reader of a cache looks at: half of a small object is the record of who set which field. */
function slim<T extends KubernetesObject>(object: T): T {
  const metadata: T['metadata'] & { managedFields?: unknown } = { ...object.metadata };
  delete metadata.managedFields;
  return { ...object, metadata };
}

/** Keys of objects by a value of theirs. */
class Index<T> {
  readonly name: string;
  readonly #valuesOf: (object: T) => readonly (string | undefined)[];
  readonly #keys = new Map<string, Set<string>>();
  readonly #values = new Map<string, readonly string[]>();

  constructor(name: string, valuesOf: (object: T) => readonly (string | undefined)[]) {
    this.name = name;
    this.#valuesOf = valuesOf;
  }

  keys(value: string): ReadonlySet<string> {
    return this.#keys.get(value) ?? new Set();
  }

  put(key: string, object: T): void {
    this.remove(key);
    const values = this.#valuesOf(object).filter((value) => value !== undefined);
    this.#values.set(key, values);
    for (const value of values) {
      const keys = this.#keys.get(value);
      if (keys === undefined) this.#keys.set(value, new Set([key]));
      else keys.add(key);
    }
  }

  remove(key: string): void {
    for (const value of this.#values.get(key) ?? []) {
      const keys = this.#keys.get(value);
      keys?.delete(key);
      if (keys?.size === 0) this.#keys.delete(value);
    }
    this.#values.delete(key);
  }
}
