import { isApiError } from './api-error.ts';
import { Backoff, pause } from './backoff.ts';
import type { KindClient, WatchEvent } from './client.ts';
import type { KubernetesObject, Stored } from './object.ts';

/** Where a reflector puts what it learns. Called in order, never concurrently. */
export interface ReflectorSink<T extends KubernetesObject> {
  /** Everything there is: what is not among it is no more. */
  replace(objects: readonly Stored<T>[]): void;
  /** One change since. */
  change(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: Stored<T>): void;
}

export interface ReflectorOptions {
  /** All namespaces without it. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects per page of a list. */
  readonly pageSize?: number;
  /**
   * Milliseconds after which everything is listed afresh although the watch is well: whatever a server or proxy may have kept to
   * itself comes right then. Ten minutes without it.
   */
  readonly relistMs?: number;
  /** Milliseconds without an event or bookmark (the server sends one about every minute) after which a watch counts as dead. */
  readonly silenceMs?: number;
  /** Called whenever the server has answered: a list, an event, a bookmark. */
  readonly onHeard?: () => void;
  /** Called at the beginning of every attempt, whatever comes of it. */
  readonly onAttempt?: () => void;
  /** Told of every failure, which is then tried again. */
  readonly onFailure?: (error: unknown) => void;
  readonly signal: AbortSignal;
}

const BACKOFF = { firstMs: 200, maxMs: 10_000 };
/** A watch that lived so long was well: the next failure is a first one. */
const STEADY_MS = 10_000;
/** A watch that ended sooner than that is no watch. */
const SHORT_MS = 900;

/**
 * Keeps a sink equal to the objects of one kind: lists in pages, then watches from the list's version on. After a failure the watch
 * goes on from the last version that it saw; when the server no longer knows that (410), everything is listed again. Returns when
 * the signal fires, and never throws.
 */
export async function reflect<T extends KubernetesObject>(
  client: KindClient<T>,
  sink: ReflectorSink<T>,
  options: ReflectorOptions,
): Promise<void> {
  const { signal, relistMs = 600_000, onFailure = () => undefined, onHeard, onAttempt } = options;
  const backoff = new Backoff(BACKOFF);
  let version: string | undefined;
  let listedAt = 0;
  while (!signal.aborted) {
    const began = performance.now();
    let failed = false;
    onAttempt?.();
    try {
      if (version === undefined || began - listedAt >= relistMs) {
        const list = await listAll(client, options);
        sink.replace(list.items);
        onHeard?.();
        version = list.resourceVersion;
        listedAt = began;
      }
      for await (const event of watchFrom(client, version, listedAt + relistMs, options)) {
        version = take(sink, event);
        onHeard?.();
      }
      // It ended as a watch ends that is well.
      onHeard?.();
    } catch (error) {
      failed = true;
      if (isApiError(error, 'gone')) version = undefined;
      if (!isStopped(signal)) onFailure(error);
    }
    const lived = performance.now() - began;
    if (lived >= STEADY_MS) backoff.reset();
    // Also a server that ends every watch at once gets no storm of them.
    if (failed || lived < SHORT_MS) await pause(backoff.next(), signal);
  }
}

/** A call, for the compiler takes a signal that once was not aborted for one that never is. */
function isStopped(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** All pages. When the first page's version is forgotten before the last page is read, everything at once instead. */
async function listAll<T extends KubernetesObject>(
  client: KindClient<T>,
  options: ReflectorOptions,
): Promise<{ readonly items: readonly Stored<T>[]; readonly resourceVersion: string }> {
  const { namespace, labelSelector, fieldSelector, signal, pageSize = 500 } = options;
  const selection = { namespace, labelSelector, fieldSelector, signal };
  const items: Stored<T>[] = [];
  let next: string | undefined;
  try {
    do {
      const page = await client.list({ ...selection, limit: pageSize, continue: next });
      items.push(...page.items);
      next = page.continue;
      if (next === undefined) return { items, resourceVersion: page.resourceVersion };
    } while (!signal.aborted);
  } catch (error) {
    if (!isApiError(error, 'gone')) throw error;
  }
  return client.list(selection);
}

async function* watchFrom<T extends KubernetesObject>(
  client: KindClient<T>,
  resourceVersion: string,
  until: number,
  options: ReflectorOptions,
): AsyncGenerator<WatchEvent<Stored<T>>, void> {
  const { namespace, labelSelector, fieldSelector, signal, silenceMs = 150_000 } = options;
  // Watches of many clients that began together do not all end together.
  const longest = 240 + Math.random() * 240;
  const remaining = (until - performance.now()) / 1000;
  const timeoutSeconds = Math.max(1, Math.ceil(Math.min(longest, remaining)));
  yield* client.watch({
    ...{ namespace, labelSelector, fieldSelector, signal },
    ...{ resourceVersion, timeoutSeconds, silenceMs },
  });
}

/** Hands an event on; gives the version that the watch has reached. */
function take<T extends KubernetesObject>(sink: ReflectorSink<T>, event: WatchEvent<Stored<T>>): string {
  if (event.type === 'BOOKMARK') return event.resourceVersion;
  sink.change(event.type, event.object);
  return event.object.metadata.resourceVersion;
}
