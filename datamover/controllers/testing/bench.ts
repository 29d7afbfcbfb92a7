import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crdFiles } from '../../../api/crd-files.ts';
import { KINDS } from '../../../api/kinds.ts';
import { volumeSnapshotBackup, type VolumeSnapshotBackup } from '../../../api/volume-snapshot-backup.ts';
import { volumeSnapshotRestore, type VolumeSnapshotRestore } from '../../../api/volume-snapshot-restore.ts';
import { startOwnCluster, type OwnCluster } from '../../../e2e/servers/kubernetes.ts';
import { makeAccounts } from '../../../e2e/servers/mover.ts';
import { makeClient, type Client } from '../../kubernetes/client.ts';
import { loadConfiguration } from '../../kubernetes/configuration.ts';
import { EVENTS } from '../../kubernetes/events.ts';
import type { Stored } from '../../kubernetes/object.ts';
import { resourceOf } from '../../kubernetes/resource.ts';
import { until } from '../../kubernetes/testing/waiting.ts';
import { runController } from '../controller.ts';
import type { RepositorySizes } from '../repository/sizes.ts';
import { DEFAULTS, type ControllerSettings } from '../settings.ts';
import type { TransferObject } from '../transfer-object.ts';
import { AgentDouble } from './agent-double.ts';
import { DOUBLE_CRDS, DOUBLE_CRD_NAMES } from './double-kinds.ts';

export const MOVER = 'datamover-system';
export const VELERO = 'velero';
export const OPENEBS = 'openebs';
/** A secret with a repository in a folder. */
export const SECRET = 'restic';
export const PASSWORD = 'secret of the tests';
export const SNAPSHOT_ID = 'ab'.repeat(32);

/** A double of the steady clock: it goes on as the real one does, and jumps ahead where a test has no hours to wait. */
class SteadyClockDouble {
  aheadMs = 0;
  readonly read = (): number => performance.now() + this.aheadMs;
}

/** A real control plane of its own, for the controller works on all namespaces; with namespaces, kinds and a repository's secret. */
export class ControllerBench {
  readonly cluster: OwnCluster;
  readonly client: Client;
  readonly folder: string;
  readonly log: string[] = [];
  readonly clock = new SteadyClockDouble();
  #sizes: RepositorySizes | undefined;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** The kubeconfig of the chart's account for the controller. */
  #account = '';
  #made = 0;

  private constructor(cluster: OwnCluster, folder: string) {
    this.cluster = cluster;
    this.folder = folder;
    this.client = this.clientOf('tests');
  }

  static async create(): Promise<ControllerBench> {
    const cluster = await startOwnCluster();
    const bench = new ControllerBench(cluster, await mkdtemp(join(tmpdir(), 'datamover-controller-')));
    await cluster.apply(...crdFiles().values(), ...DOUBLE_CRDS);
    await cluster.installSnapshotCrds();
    const names = KINDS.map(({ plural, group }) => `crd/${plural}.${group}`);
    await cluster.kubectl([
      'wait',
      '--for=condition=Established',
      '--timeout=60s',
      ...names,
      ...DOUBLE_CRD_NAMES,
    ]);
    for (const name of [MOVER, VELERO, OPENEBS]) await cluster.kubectl(['create', 'namespace', name]);
    const accounts = await makeAccounts(MOVER, { cluster, veleroNamespace: VELERO, zfsNamespace: OPENEBS });
    bench.#account = accounts.controller;
    await bench.makeSecret(VELERO, SECRET, {
      RESTIC_REPOSITORY: bench.repository,
      RESTIC_PASSWORD: PASSWORD,
    });
    return bench;
  }

  /** Of the secret; a namespace's lies below it. */
  get repository(): string {
    return join(this.folder, 'repository');
  }

  clientOf(fieldManager: string, kubeconfig = this.cluster.kubeconfig): Client {
    return makeClient(loadConfiguration({ kubeconfig }), { fieldManager });
  }

  /** Starts a controller with short times; one at a time. */
  start(more: Partial<ControllerSettings> = {}): void {
    this.#stop = new AbortController();
    const say = (fields: object, message: string): void =>
      void this.log.push(`${JSON.stringify(fields)} ${message}`);
    this.#running = runController({
      client: this.clientOf('datamover-controller', this.#account),
      settings: {
        ...DEFAULTS,
        ...{
          namespace: MOVER,
          protectedNamespaces: [VELERO],
          zfsNamespace: OPENEBS,
          veleroNamespace: VELERO,
        },
        ...{ retryBackoff: 200, ...more },
      },
      ...{
        instance: 'tests',
        clock: this.clock.read,
        signal: this.#stop.signal,
        onReady: (_, sizes) => void (this.#sizes = sizes),
        log: { debug: say, info: say, warn: say, error: say },
      },
    });
  }

  /** Of repositories, as metrics tell them. */
  sizes(): ReturnType<RepositorySizes['list']> {
    return this.#sizes?.list() ?? [];
  }

  async stopController(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async agent(node: string, drivers?: string): Promise<AgentDouble> {
    const agent = new AgentDouble(this.clientOf('datamover-agent'), MOVER, node, drivers);
    await agent.live();
    return agent;
  }

  async makeSecret(namespace: string, name: string, stringData: object): Promise<void> {
    await this.cluster.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name }, stringData });
  }

  /** A namespace with a claim that waits for nothing, and the snapshot of it that zfs-localpv would have made. */
  async makeSnapshot(
    options: {
      readonly namespace?: string;
      readonly node?: string;
      readonly ready?: boolean;
      readonly driver?: string;
    } = {},
  ): Promise<{
    readonly namespace: string;
    readonly claim: string;
    readonly content: string;
    readonly location: string;
  }> {
    const { node = 'node-1', ready = true, driver = 'zfs.csi.openebs.io' } = options;
    const namespace = options.namespace ?? (await this.cluster.makeNamespace());
    const id = `${(this.#made += 1)}-${randomBytes(3).toString('hex')}`;
    const [claim, volume, snapshot, content] = [`db-${id}`, `pvc-${id}`, `snapshot-${id}`, `content-${id}`];
    const zfs = { ownerNodeID: node, poolName: 'tank', capacity: '1073741824', volumeType: 'ZVOL' };
    await this.cluster.apply(
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: claim, namespace },
        spec: {
          accessModes: ['ReadWriteOnce'],
          storageClassName: 'zfs',
          resources: { requests: { storage: '1Gi' } },
        },
      },
      {
        apiVersion: 'snapshot.storage.k8s.io/v1',
        kind: 'VolumeSnapshot',
        metadata: { name: `snap-${id}`, namespace },
        spec: { source: { persistentVolumeClaimName: claim }, volumeSnapshotClassName: 'zfs' },
      },
      {
        apiVersion: 'snapshot.storage.k8s.io/v1',
        kind: 'VolumeSnapshotContent',
        metadata: { name: content },
        spec: {
          ...{
            driver,
            deletionPolicy: 'Delete',
            volumeSnapshotClassName: 'zfs',
            source: { volumeHandle: volume },
          },
          volumeSnapshotRef: { name: `snap-${id}`, namespace },
        },
      },
      {
        apiVersion: 'zfs.openebs.io/v1',
        kind: 'ZFSSnapshot',
        metadata: { name: snapshot, namespace: OPENEBS },
        spec: zfs,
      },
    );
    if (ready) await this.makeReady(content, `${volume}@${snapshot}`);
    return { namespace, claim, content, location: `tank/${volume}@${snapshot}` };
  }

  /** What the snapshot's sidecar does. */
  async makeReady(content: string, snapshotHandle: string): Promise<void> {
    const status = { snapshotHandle, readyToUse: true, restoreSize: 2 ** 30 };
    await this.cluster.kubectl([
      ...['patch', 'volumesnapshotcontent', content, '--subresource=status', '--type=merge'],
      `--patch=${JSON.stringify({ status })}`,
    ]);
  }

  async backUp(
    namespace: string,
    content: string,
    more: { readonly labels?: Record<string, string>; readonly spec?: object } = {},
  ): Promise<Stored<VolumeSnapshotBackup>> {
    const name = `vsb-${(this.#made += 1)}`;
    return this.client.of(resourceOf(volumeSnapshotBackup)).create({
      metadata: { namespace, name, ...(more.labels === undefined ? {} : { labels: more.labels }) },
      spec: {
        volumeSnapshotContent: { name: content },
        protectedNamespace: VELERO,
        resticSecretRef: { name: SECRET },
        ...more.spec,
      },
    });
  }

  async read<T extends TransferObject>(object: T): Promise<T> {
    const { namespace, name } = object.metadata;
    const answer: unknown = await (object.kind === volumeSnapshotBackup.kind
      ? this.client.of(resourceOf(volumeSnapshotBackup)).get(namespace, name)
      : this.client.of(resourceOf(volumeSnapshotRestore)).get(namespace, name));
    return answer as T;
  }

  /** The clock goes on, and the backup is looked at. */
  async pass({ metadata }: Stored<VolumeSnapshotBackup>, ms: number): Promise<void> {
    this.clock.aheadMs += ms;
    const touch = ['annotate', 'vsb', metadata.name, `at=${this.clock.aheadMs}`, '--overwrite'];
    await this.cluster.kubectl([...touch, `--namespace=${metadata.namespace}`]);
  }

  /** Resolves with the object as soon as it is so. */
  async when<T extends TransferObject>(object: T, is: (object: T) => boolean, what: string): Promise<T> {
    let seen = await this.read(object);
    await until(
      async () => is((seen = await this.read(object))),
      () => `${what}: ${JSON.stringify(seen.status)}\n${this.log.slice(-30).join('\n')}`,
    );
    return seen;
  }

  async processing<T extends TransferObject>(object: T): Promise<T> {
    return this.when(
      object,
      ({ status }) => status?.batchingStatus === 'Processing' && (status.claimedBy ?? '') === '',
      'Processing',
    );
  }

  /** Waits for a phase and that nothing more will happen. */
  async ended<T extends TransferObject>(object: T, phase: string): Promise<T> {
    return this.when(
      object,
      ({ status, metadata }) => status?.phase === phase && metadata.finalizers === undefined,
      phase,
    );
  }

  async eventsOf(object: TransferObject): Promise<readonly (readonly [reason: string, message: string])[]> {
    const { items } = await this.client.of(EVENTS).list({ namespace: object.metadata.namespace });
    return items
      .filter(({ involvedObject }) => involvedObject.uid === object.metadata.uid)
      .map(({ reason, message }) => [reason, message] as const);
  }

  async remove(): Promise<void> {
    await this.stopController();
    this.client.close();
    await this.cluster.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export type Restore = Stored<VolumeSnapshotRestore>;
