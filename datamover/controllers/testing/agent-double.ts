import { labelValue } from '../../../api/derived-names.ts';
import { AGENT_LEASE, LEASES as LEASE_NAMES, transferSecretName, type Reason } from '../../../api/names.ts';
import { volumeSnapshotBackup } from '../../../api/volume-snapshot-backup.ts';
import { volumeSnapshotRestore } from '../../../api/volume-snapshot-restore.ts';
import type { Client, KindClient } from '../../kubernetes/client.ts';
import { SECRETS, secretValues } from '../../kubernetes/core-resources.ts';
import { LeaseClaim } from '../../kubernetes/lease.ts';
import { resourceOf } from '../../kubernetes/resource.ts';
import type { TransferKind, TransferObject } from '../transfer-object.ts';

/**
 * The agent's part of the contract, written by hand so that a test decides when what happens: claims, leases, results. A double: the
 * agent itself would carry bytes and choose its own moments.
 */
export class AgentDouble {
  readonly node: string;
  readonly #client: Client;
  readonly #namespace: string;
  readonly #drivers: string;
  readonly #leases = new Map<string, LeaseClaim>();
  #heart: NodeJS.Timeout | undefined;

  constructor(client: Client, namespace: string, node: string, drivers = 'zfs,rbd') {
    this.#client = client;
    this.#namespace = namespace;
    this.node = node;
    this.#drivers = drivers;
  }

  /** Holds the agent's lease (K-17), and those of its transfers (K-13), until it dies. */
  async live(): Promise<void> {
    const metadata = { labels: { [AGENT_LEASE.label]: labelValue(this.node) } };
    this.#leases.set('agent', this.#lease(LEASE_NAMES.agent(this.node), metadata));
    await this.#renew();
    await this.#client
      .of({ group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true })
      .patch(this.#namespace, LEASE_NAMES.agent(this.node), {
        metadata: { annotations: { [AGENT_LEASE.node]: this.node, [AGENT_LEASE.drivers]: this.#drivers } },
      });
    this.#heart = setInterval(() => void this.#renew().catch(() => undefined), 1_000);
  }

  /** Ends without a word, as by SIGKILL: its leases run out. */
  die(): void {
    clearInterval(this.#heart);
    this.#leases.clear();
  }

  /** K-12 and K-13. */
  async claim(object: TransferObject): Promise<void> {
    const { transferID = '' } = object.status ?? {};
    const claimedBy = `agent-${this.node}`;
    const transferred = { type: 'Transferred', status: 'Unknown', reason: 'Processing', message: 'begun' };
    const lastTransitionTime = new Date().toISOString();
    const conditions = [{ ...transferred, lastTransitionTime }];
    await this.#apply(object, { claimedBy, startTimestamp: lastTransitionTime, conditions });
    const lease = this.#lease(LEASE_NAMES.transfer(transferID), {
      labels: { 'datamover.io/transfer': transferID },
    });
    if (!(await lease.acquireOrRenew())) throw new Error(`the lease of ${transferID} is another's`);
    this.#leases.set(transferID, lease);
  }

  /** The bytes are there. */
  async succeed(object: TransferObject, snapshotID: string): Promise<void> {
    const phase = object.kind === volumeSnapshotBackup.kind ? 'SnapshotBackupDone' : 'SnapshotRestoreDone';
    await this.#report(object, 'True', 'Complete', 'carried', {
      phase,
      snapshotID,
      progress: { totalBytes: 100, bytesDone: 100, percent: 100 },
    });
    await this.letGo(object);
  }

  /** K-21. */
  async fail(object: TransferObject, reason: Reason, message: string): Promise<void> {
    await this.#report(object, 'False', reason, message, {});
    await this.letGo(object);
  }

  async letGo(object: TransferObject): Promise<void> {
    const id = object.status?.transferID ?? '';
    const lease = this.#leases.get(id);
    this.#leases.delete(id);
    await lease?.release();
  }

  /** The transfer's secret, as the child gets it. */
  async secretOf(object: TransferObject): Promise<ReadonlyMap<string, string>> {
    const name = transferSecretName(object.status?.transferID ?? '');
    const values = secretValues(await this.#client.of(SECRETS).get(this.#namespace, name));
    return new Map([...values].map(([key, value]) => [key, value.toString('utf8')]));
  }

  async #report(
    object: TransferObject,
    status: string,
    reason: string,
    message: string,
    more: object,
  ): Promise<void> {
    const lastTransitionTime = new Date().toISOString();
    const conditions = [{ type: 'Transferred', status, reason, message, lastTransitionTime }];
    const claimedBy = `agent-${this.node}`;
    await this.#apply(object, { claimedBy, message, conditions, ...more }, false);
  }

  async #apply(object: TransferObject, status: object, onTop = true): Promise<void> {
    const { namespace, name, resourceVersion } = object.metadata;
    const kind = object.kind === volumeSnapshotBackup.kind ? volumeSnapshotBackup : volumeSnapshotRestore;
    const objects = this.#client.of(resourceOf(kind)) as unknown as KindClient<TransferKind>;
    const applied: unknown = { metadata: { namespace, name, ...(onTop ? { resourceVersion } : {}) }, status };
    await objects.apply(applied as Parameters<typeof objects.apply>[0], { subresource: 'status' });
  }

  #lease(name: string, metadata: { readonly labels: Record<string, string> }): LeaseClaim {
    const identity = `agent-${this.node}`;
    return new LeaseClaim({
      client: this.#client,
      namespace: this.#namespace,
      name,
      identity,
      durationSeconds: 8,
      metadata,
    });
  }

  async #renew(): Promise<void> {
    await Promise.all([...this.#leases.values()].map((lease) => lease.acquireOrRenew()));
  }
}
