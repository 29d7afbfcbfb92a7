import { hostname } from 'node:os';
import { randomUUID } from 'node:crypto';
import { isApiError, orMissing } from './api-error.ts';
import type { Client, KindClient } from './client.ts';
import type { KubernetesObject, ObjectMeta, Stored } from './object.ts';
import { defineResource } from './resource.ts';

/** coordination.k8s.io/v1. Times are RFC 3339 with microseconds. */
export interface Lease extends KubernetesObject {
  readonly spec?: {
    readonly holderIdentity?: string | null;
    readonly leaseDurationSeconds?: number | null;
    readonly acquireTime?: string | null;
    readonly renewTime?: string | null;
    readonly leaseTransitions?: number | null;
  };
}

export const LEASES = defineResource<Lease>({
  ...{ group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true },
});

/** A name for this process that no other one has, also not this pod's next container. */
export function processIdentity(): string {
  return `${process.env['POD_NAME'] ?? hostname()}_${randomUUID().slice(0, 8)}`;
}

/** A version of a lease, and when it was first seen. */
interface Sight {
  readonly resourceVersion: string;
  readonly at: number;
  readonly renewed: boolean;
}

/**
 * Tells when the holder of a lease has stopped renewing it. Only changes that we saw count, by our own steady clock: what the
 * holder's clock says, which it writes into the lease, is never compared with ours. So a lease seen for the first time is alive for
 * one whole duration.
 */
export class LeaseObserver {
  readonly #seen = new Map<string, Sight>();

  /** Milliseconds until this lease has expired; zero and less when it has, and when nobody holds it. */
  remainingMs(lease: Stored<Lease>): number {
    const { at } = this.#look(lease);
    if ((lease.spec?.holderIdentity ?? '') === '') return 0;
    return at + (lease.spec?.leaseDurationSeconds ?? 15) * 1000 - performance.now();
  }

  /** Whether it was seen to be renewed: one that was only found may be of a holder who died long ago. */
  isProven(lease: Stored<Lease>): boolean {
    return this.#look(lease).renewed;
  }

  #look({ metadata: { namespace, name, resourceVersion } }: Stored<Lease>): Sight {
    const key = `${namespace ?? ''}/${name}`;
    const known = this.#seen.get(key);
    if (known?.resourceVersion === resourceVersion) return known;
    const sight = { resourceVersion, at: performance.now(), renewed: known !== undefined };
    this.#seen.set(key, sight);
    return sight;
  }

  /** The lease is no more. */
  forget(namespace: string, name: string): void {
    this.#seen.delete(`${namespace}/${name}`);
  }
}

export interface LeaseOptions {
  readonly client: Client;
  readonly namespace: string;
  readonly name: string;
  readonly identity: string;
  /** How long others wait after the last renewal that they saw; a whole number. */
  readonly durationSeconds: number;
  /** Labels, annotations and owners of the lease while it is held; others that it has stay. */
  readonly metadata?: Pick<ObjectMeta, 'labels' | 'annotations' | 'ownerReferences'>;
  /**
   * Asked when a lease that was ours is found deleted: made anew it would lie there for ever where nothing is left to be done under it.
   * Always made anew without it.
   */
  readonly stillWanted?: (signal?: AbortSignal) => Promise<boolean>;
}

/**
 * One lease, which this process tries to hold. The server's optimistic lock decides who gets it: every write names the version that
 * was read.
 */
export class LeaseClaim {
  readonly #options: LeaseOptions;
  readonly #leases: KindClient<Lease>;
  readonly #observer = new LeaseObserver();
  #held: Stored<Lease> | undefined;
  #wasOurs = false;
  #validUntil = -Infinity;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#leases = options.client.of(LEASES);
  }

  /** Whether nobody else can have taken the lease by now, as far as our own steady clock tells. */
  get isValid(): boolean {
    return this.remainingMs > 0;
  }

  /** Milliseconds until somebody else may take it. */
  get remainingMs(): number {
    return this.#validUntil - performance.now();
  }

  get durationMs(): number {
    return this.#options.durationSeconds * 1000;
  }

  /**
   * Takes the lease when it is free, expired or ours, or renews it; false when another one holds it. Throws an ApiError when the
   * server does not answer: what was held stays held until its time is over.
   */
  async acquireOrRenew(signal?: AbortSignal): Promise<boolean> {
    // Counted from before the request: others count from when they see its effect, which is later.
    const began = performance.now();
    try {
      this.#held = await this.#write(signal);
    } catch (error) {
      const stale = isApiError(error, 'conflict', 'missing') && this.#held !== undefined;
      if (!stale && !isApiError(error, 'conflict', 'exists', 'missing')) throw error;
      this.#held = undefined;
      // Our own last write may have got through without its answer: the lease itself says whose it is.
      if (stale) return this.acquireOrRenew(signal);
    }
    this.#validUntil = this.#held === undefined ? -Infinity : began + this.durationMs;
    this.#wasOurs ||= this.#held !== undefined;
    return this.#held !== undefined;
  }

  /** Gives the lease away at once, when it is ours. */
  async release(signal?: AbortSignal): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    this.#validUntil = -Infinity;
    if (held === undefined) return;
    const { metadata, spec } = held;
    const free = {
      metadata,
      spec: { ...spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime() },
    };
    try {
      await this.#leases.update(free, { signal });
    } catch (error) {
      // Then it is not ours any more.
      if (!isApiError(error, 'conflict', 'missing')) throw error;
    }
  }

  async #write(signal: AbortSignal | undefined): Promise<Stored<Lease> | undefined> {
    const { namespace, name, identity, durationSeconds: leaseDurationSeconds, metadata } = this.#options;
    const known = this.#held ?? (await orMissing(this.#leases.get(namespace, name, { signal })));
    const now = microTime();
    const mine = { holderIdentity: identity, leaseDurationSeconds, renewTime: now };
    if (known === undefined) {
      const { stillWanted } = this.#options;
      if (this.#wasOurs && stillWanted !== undefined && !(await stillWanted(signal))) return undefined;
      const spec = { ...mine, acquireTime: now, leaseTransitions: 0 };
      return this.#leases.create({ metadata: { ...metadata, namespace, name }, spec }, { signal });
    }
    const renewed = known.spec?.holderIdentity === identity;
    if (!renewed && this.#observer.remainingMs(known) > 0) return undefined;
    const transitions = (known.spec?.leaseTransitions ?? 0) + 1;
    const taken = renewed ? {} : { acquireTime: now, leaseTransitions: transitions };
    return this.#leases.update(
      { metadata: { ...known.metadata, ...this.#marks(known) }, spec: { ...known.spec, ...mine, ...taken } },
      { signal },
    );
  }

  #marks(known: Stored<Lease>): Pick<ObjectMeta, 'labels' | 'annotations' | 'ownerReferences'> {
    const { labels, annotations, ownerReferences } = this.#options.metadata ?? {};
    return {
      ...(labels && { labels: { ...known.metadata.labels, ...labels } }),
      ...(annotations && { annotations: { ...known.metadata.annotations, ...annotations } }),
      ...(ownerReferences && { ownerReferences }),
    };
  }
}

/** The API wants six decimals and refuses three. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
