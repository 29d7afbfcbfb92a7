import { createHash } from 'node:crypto';
import { isApiError } from './api-error.ts';
import type { Client, KindClient } from './client.ts';
import type { KubernetesObject, Stored } from './object.ts';
import { defineResource } from './resource.ts';

/** core/v1 Event: what `kubectl describe` prints below an object. */
export interface Event extends KubernetesObject {
  readonly involvedObject: {
    readonly apiVersion?: string | undefined;
    readonly kind?: string | undefined;
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly uid: string;
  };
  readonly type: 'Normal' | 'Warning';
  /** A CamelCase word for programs. */
  readonly reason: string;
  /** The sentence for people. */
  readonly message: string;
  readonly count: number;
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly source: { readonly component: string; readonly host?: string };
  readonly reportingComponent: string;
  readonly reportingInstance: string;
}

export const EVENTS = defineResource<Event>({
  ...{ group: '', version: 'v1', kind: 'Event', plural: 'events', namespaced: true },
});

export interface EventRecorderOptions {
  readonly client: Client;
  /** Who tells: `datamover-controller`. */
  readonly component: string;
  /** Which one of them: the pod's name. */
  readonly instance: string;
  /** Told when an event could not be written; it is then lost, for nothing depends on events. */
  readonly onFailure: (error: unknown) => void;
}

/** Different messages of one reason about one object, beyond which they are told as one. */
const MESSAGES_BEFORE_COMBINED = 10;
/** Objects whose events are remembered; the longest silent are forgotten first. */
const REMEMBERED = 2_000;
/** Events that wait for the server; more are dropped. */
const LONGEST_QUEUE = 500;
/** The server's limit. */
const LONGEST_MESSAGE = 1_024;

type Told = Pick<Event, 'type' | 'reason' | 'message'>;

/**
 * Writes events without anybody having to wait. The same sentence about the same object becomes one event with a count, also across
 * restarts: its name is derived from what it says.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #events: KindClient<Event>;
  /** Messages by object, type and reason. */
  readonly #messages = new Map<string, Set<string>>();
  #queue: Promise<void> = Promise.resolve();
  #queued = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#events = options.client.of(EVENTS);
  }

  /** Tells something of an object; `object` as the server gave it. Never throws. */
  record(object: Stored<KubernetesObject>, type: Event['type'], reason: string, message: string): void {
    if (this.#queued >= LONGEST_QUEUE) return;
    const told = {
      type,
      reason,
      message: this.#combined(object, type, reason, message.slice(0, LONGEST_MESSAGE)),
    };
    this.#queued += 1;
    this.#queue = this.#queue
      .then(() => this.#write(object, told))
      .catch(this.#options.onFailure)
      .finally(() => (this.#queued -= 1));
  }

  /** Resolves when everything that was told has been written or given up. */
  async flush(): Promise<void> {
    await this.#queue;
  }

  #combined(object: Stored<KubernetesObject>, type: string, reason: string, message: string): string {
    const key = [object.metadata.uid, type, reason].join(' ');
    const messages = this.#messages.get(key) ?? new Set();
    // Set again, to be the youngest.
    this.#messages.delete(key);
    this.#messages.set(key, messages);
    const [oldest] = this.#messages.keys();
    if (this.#messages.size > REMEMBERED && oldest !== undefined) this.#messages.delete(oldest);
    if (messages.has(message)) return message;
    if (messages.size >= MESSAGES_BEFORE_COMBINED) return `(one of many such events) ${reason}`;
    messages.add(message);
    return message;
  }

  async #write(object: Stored<KubernetesObject>, told: Told): Promise<void> {
    const { component, instance } = this.#options;
    const { name, namespace, uid } = object.metadata;
    // Of what belongs to no namespace, events are in the default one.
    const place = {
      namespace: namespace ?? 'default',
      name: nameOf(name, [uid, component, ...Object.values(told)]),
    };
    const now = new Date().toISOString();
    const event: Event = {
      metadata: place,
      involvedObject: { apiVersion: object.apiVersion, kind: object.kind, name, namespace, uid },
      ...told,
      ...{ count: 1, firstTimestamp: now, lastTimestamp: now },
      source: { component },
      ...{ reportingComponent: component, reportingInstance: instance },
    };
    try {
      await this.#events.create(event);
    } catch (error) {
      if (!isApiError(error, 'exists')) throw error;
      const known = await this.#events.get(place.namespace, place.name);
      await this.#events.patch(place.namespace, place.name, { count: known.count + 1, lastTimestamp: now });
    }
  }
}

/** The object's name and a hash, within the 253 characters of a name. */
function nameOf(object: string, what: readonly string[]): string {
  const hash = createHash('sha256').update(what.join('\0')).digest('hex').slice(0, 16);
  return `${object.slice(0, 236)}.${hash}`;
}
