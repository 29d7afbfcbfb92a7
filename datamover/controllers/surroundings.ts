import { AGENT_LEASE, LEASES as LEASE_NAMES } from '../../api/names.ts';
import type { DataMoverClass } from '../../api/data-mover-class.ts';
import type { Client } from '../kubernetes/client.ts';
import type { Informer } from '../kubernetes/informer.ts';
import type { Stored } from '../kubernetes/object.ts';
import { LeaseObserver, type Lease } from '../kubernetes/lease.ts';
import { CLAIMS } from '../kubernetes/storage-resources.ts';
import { orMissing } from '../kubernetes/api-error.ts';
import type { Ages } from './ages.ts';
import { agentOf, nodesFor, type LiveAgent } from './assignment.ts';
import { chooseMover, type MoverChoice } from '../../api/mover-class.ts';
import { orphanedBecause } from './owner.ts';
import { claimOfBackup } from './resolve/backup-source.ts';
import type { Site } from './resolve/storage.ts';
import type { Surroundings } from './transfer-plan.ts';
import { isBackup, transferIdOfObject, type TransferObject } from './transfer-object.ts';

export interface SurroundingsParts {
  readonly site: Site;
  readonly client: Client;
  /** Of the mover's namespace. */
  readonly leases: Informer<Lease>;
  readonly classes: Informer<DataMoverClass>;
  readonly ages: Ages;
  /** Told when an object is another mover's. */
  readonly onOthers: (object: TransferObject, because: string) => void;
}

/** What plans need to know beside the object. */
export class SurroundingsLook {
  readonly #parts: SurroundingsParts;
  readonly #observer = new LeaseObserver();

  constructor(parts: SurroundingsParts) {
    this.#parts = parts;
  }

  /** The agents that live. */
  agents(): readonly LiveAgent[] {
    return this.#parts.leases.list().flatMap((lease) => {
      if (lease.metadata.labels?.[AGENT_LEASE.label] === undefined) return [];
      const agent = agentOf(lease);
      if (agent === undefined || this.#observer.remainingMs(lease) <= 0) return [];
      return [this.#observer.isProven(lease) ? agent : { ...agent, unproven: true }];
    });
  }

  async of(object: TransferObject): Promise<Surroundings> {
    const { status } = object;
    const claimedBy = status?.claimedBy ?? '';
    const claimed = claimedBy !== '';
    // What an earlier attempt had to do with is not held against this one.
    const attempt = String(status?.attempts ?? 0);
    const lease = this.#leaseOf(object);
    const unheld = claimed && lease !== 'held';
    const { ages } = this.#parts;
    const home = this.#homeOf(object);
    // Not for an agent that may be long dead: its lease looks alive to a controller that has just begun.
    if (home === 'sure') ages.end(object, 'homeless');
    if (!unheld) ages.end(object, 'unheld');
    if (!claimed) ages.end(object, 'progress');
    return {
      ours: status?.phase !== undefined || (await this.#isOurs(object)),
      orphaned: await orphanedBecause(this.#parts.client, object),
      lease,
      unheldForMs: unheld ? ages.of(object, 'unheld', `${attempt} ${claimedBy}`) : 0,
      stillForMs: claimed ? ages.of(object, 'progress', `${attempt} ${claimedBy} ${movesOf(status)}`) : 0,
      homelessForMs: home === 'none' ? ages.of(object, 'homeless', attempt) : 0,
      agentAlive: this.agents().some(({ node }) => node === status?.node),
    };
  }

  /** Whether an agent can carry it; `unsure` where none is known to live, and one may. */
  #homeOf({ status }: TransferObject): 'sure' | 'unsure' | 'none' {
    const { storage, node, batchingStatus } = status ?? {};
    if (storage === undefined || batchingStatus !== 'Queued') return 'sure';
    const agents = this.agents();
    const reach = (some: readonly LiveAgent[]): boolean => nodesFor(storage.driver, node, some).length > 0;
    if (reach(agents.filter(({ unproven }) => unproven !== true))) return 'sure';
    return reach(agents) ? 'unsure' : 'none';
  }

  /** Notes that the lease was renewed: who looks seldom would take an old renewal for a new one. */
  observe(lease: Stored<Lease>): void {
    this.#observer.remainingMs(lease);
  }

  /** The object is no more. */
  forget(object: TransferObject): void {
    this.#parts.ages.forget(object.metadata.uid);
    this.#observer.forget(
      this.#parts.site.settings.namespace,
      LEASE_NAMES.transfer(transferIdOfObject(object)),
    );
  }

  #leaseOf(object: TransferObject): Surroundings['lease'] {
    const name = LEASE_NAMES.transfer(transferIdOfObject(object));
    const lease = this.#parts.leases.get(this.#parts.site.settings.namespace, name);
    if (lease === undefined || (lease.spec?.holderIdentity ?? '') === '') return 'free';
    return this.#observer.remainingMs(lease) > 0 ? 'held' : 'expired';
  }

  async #isOurs(object: TransferObject): Promise<boolean> {
    const choice = await this.#choose(object);
    if (choice.is === 'ours') return true;
    const because = choice.is === 'missing' ? `there is no DataMoverClass ${choice.name}` : choice.because;
    this.#parts.onOthers(object, because);
    return false;
  }

  async #choose(object: TransferObject): Promise<MoverChoice> {
    const { classes, site, client } = this.#parts;
    const all = classes.list();
    const named = object.spec.dataMoverClass;
    if (all.length === 0 && named === undefined) return { is: 'ours' };
    if (named !== undefined) return chooseMover(all, named);
    if (isBackup(object)) return chooseMover(all, undefined, (await claimOfBackup(site, object))?.metadata);
    const { claimName } = object.spec.target ?? {};
    const claim =
      claimName === undefined
        ? undefined
        : await orMissing(client.of(CLAIMS).get(object.metadata.namespace, claimName));
    return chooseMover(all, undefined, claim?.metadata);
  }
}

/** What of a transfer's status moves while it works: what is written, and then what of it is read back. */
function movesOf(status: TransferObject['status']): string {
  if (status === undefined) return '';
  const verified = 'verification' in status ? status.verification.bytesRead : undefined;
  const { bytesDone, bytesStoredAgain } = status.progress ?? {};
  return `${String(bytesDone)} ${String(bytesStoredAgain)} ${String(verified)}`;
}
