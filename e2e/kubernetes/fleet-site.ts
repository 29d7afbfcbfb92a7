import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LEASES as LEASE_NAMES } from '../../api/names.ts';
import { AgentSite } from '../../datamover/agent/testing/site.ts';
import { BACKUPS, type Backup } from '../../datamover/agent/transfer.ts';
import { DOUBLE_CRDS, DOUBLE_CRD_NAMES } from '../../datamover/controllers/testing/double-kinds.ts';
import { LEASES } from '../../datamover/kubernetes/lease.ts';
import { answers } from '../servers/daemon.ts';
import type { OwnCluster } from '../servers/kubernetes.ts';
import { makeAccounts } from '../servers/mover.ts';
import { freePorts } from '../servers/ports.ts';
import { startRestartable, type Restartable } from '../servers/restartable.ts';

export const VELERO = 'velero';
const OPENEBS = 'openebs';
/** Secrets; the repositories of each lie in a folder of its name. */
export const TARGETS = ['one', 'two'] as const;
const CLOCK_DOUBLE = new URL('wall-clock-double.js', import.meta.url).href;
const COMMAND = fileURLToPath(new URL('../../../bin/datamover', import.meta.url));

export interface CrowdPlace {
  readonly node: string;
  readonly secret: (typeof TARGETS)[number];
}

/** Real control plane, controllers and agents for snapshots of zfs-localpv that nobody has made: doubles, for no byte of them is read. */
export class FleetSite {
  /** What the agents run as the child of a transfer. */
  static readonly CHILD = fileURLToPath(
    new URL('../../datamover/agent/testing/child-double.js', import.meta.url),
  );
  readonly agents: AgentSite;
  /** What the clocks of its processes are ahead of the machine's, in milliseconds; see `setClocks`. */
  readonly #clock: string;
  /** With the chart's rights and no others. */
  readonly #account: string;
  readonly controllers = new Map<string, Restartable>();
  readonly #addresses = new Map<string, string>();

  private constructor(agents: AgentSite, account: string) {
    this.agents = agents;
    this.#account = account;
    this.#clock = join(agents.folder, 'clock');
  }

  static async create(): Promise<FleetSite> {
    const agents = await AgentSite.create();
    const { cluster, folder } = agents;
    await cluster.installSnapshotCrds();
    await cluster.apply(...DOUBLE_CRDS);
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...DOUBLE_CRD_NAMES]);
    for (const name of [VELERO, OPENEBS]) await cluster.kubectl(['create', 'namespace', name]);
    const accounts = await makeAccounts(agents.mover, {
      ...{ cluster, veleroNamespace: VELERO, zfsNamespace: OPENEBS },
    });
    const site = new FleetSite(agents, accounts.controller);
    await site.setClocks(0);
    for (const name of TARGETS) {
      await mkdir(join(folder, name));
      await site.makeSecret(name, 'a password');
    }
    return site;
  }

  get cluster(): OwnCluster {
    return this.agents.cluster;
  }

  async makeSecret(name: (typeof TARGETS)[number], password: string): Promise<void> {
    await this.cluster.apply({
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { namespace: VELERO, name } },
      stringData: { RESTIC_REPOSITORY: join(this.agents.folder, name), RESTIC_PASSWORD: password },
    });
  }

  /** `datamover controller`, in a pod of this name. */
  async startController(pod: string, args: readonly string[] = []): Promise<Restartable> {
    const address = `127.0.0.1:${await freePorts(1)}`;
    const controller = await startRestartable({
      file: COMMAND,
      args: [
        ...['controller', '--namespace', this.agents.mover, '--kubeconfig', this.#account],
        ...['--http-address', address, '--protected-namespaces', VELERO, '--log-level', 'warn', ...args],
      ],
      env: { KUBERNETES_SERVICE_HOST: undefined, POD_NAME: pod, ...this.clockEnvironment },
      ...{ logsToStderr: true, patience: 180_000, ready: () => answers(`http://${address}/readyz`) },
    });
    this.controllers.set(pod, controller);
    this.#addresses.set(pod, address);
    return controller;
  }

  /** For processes whose clock is to jump; controllers have it. */
  get clockEnvironment(): Readonly<Record<string, string>> {
    return { NODE_OPTIONS: `--import=${CLOCK_DOUBLE}`, WALL_CLOCK_DOUBLE: this.#clock };
  }

  /** Sets their clocks so much ahead of the machine's, or behind it. */
  async setClocks(aheadMs: number): Promise<void> {
    // Renamed into place: a process that looks just now must not find an empty file.
    await writeFile(`${this.#clock}.new`, String(aheadMs));
    await rename(`${this.#clock}.new`, this.#clock);
  }

  async isReady(pod: string): Promise<boolean> {
    return answers(`http://${this.#addresses.get(pod) ?? ''}/readyz`);
  }

  async metrics(pod: string): Promise<readonly string[]> {
    const answer = await fetch(`http://${this.#addresses.get(pod) ?? ''}/metrics`);
    return (await answer.text()).split('\n');
  }

  /** When a lease was last renewed, as its holder's clock says. */
  async renewal(name: string): Promise<number> {
    const lease = await this.agents.controller.of(LEASES).get(this.agents.mover, name);
    return Date.parse(lease.spec?.renewTime ?? '');
  }

  /** The pod whose controller leads; empty when none does. */
  async leader(): Promise<string> {
    const lease = await this.agents.controller.of(LEASES).get(this.agents.mover, LEASE_NAMES.controller);
    return lease.spec?.holderIdentity?.split('_')[0] ?? '';
  }

  /** A new namespace with so many snapshots, as zfs-localpv leaves them, and a VolumeSnapshotBackup `vsb-NAMESPACE-N` of each. */
  async makeCrowd(namespace: string, count: number, place: (at: number) => CrowdPlace): Promise<void> {
    const ids = Array.from({ length: count }, (_, at) => `${namespace}-${at}`);
    await this.cluster.kubectl(['create', 'namespace', namespace]);
    await this.cluster.apply(...ids.flatMap((id, at) => snapshotObjects(id, namespace, place(at).node)));
    await this.cluster.kubectl(['apply', '--server-side', '--subresource=status', '-f', '-'], {
      input: ids.map((id) => JSON.stringify(readyContent(id, namespace))).join('\n---\n'),
    });
    await this.cluster.apply(
      ...ids.map((id, at) => ({
        ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind: 'VolumeSnapshotBackup' },
        metadata: { name: `vsb-${id}`, namespace },
        spec: {
          ...{ volumeSnapshotContent: { name: `content-${id}` }, protectedNamespace: VELERO },
          resticSecretRef: { name: place(at).secret },
        },
      })),
    );
  }

  backup(namespace: string, name: string): Promise<Backup> {
    return this.agents.controller.of(BACKUPS).get(namespace, name);
  }

  async remove(): Promise<void> {
    for (const controller of this.controllers.values()) await controller.kill();
    await this.agents.remove();
  }
}

function snapshotObjects(id: string, namespace: string, node: string): object[] {
  const api = 'snapshot.storage.k8s.io/v1';
  return [
    {
      ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: `db-${id}`, namespace } },
      spec: {
        ...{ accessModes: ['ReadWriteOnce'], storageClassName: 'zfs' },
        resources: { requests: { storage: '1Mi' } },
      },
    },
    {
      ...{ apiVersion: api, kind: 'VolumeSnapshot', metadata: { name: `snap-${id}`, namespace } },
      spec: { source: { persistentVolumeClaimName: `db-${id}` }, volumeSnapshotClassName: 'zfs' },
    },
    {
      ...{ apiVersion: api, kind: 'VolumeSnapshotContent', metadata: { name: `content-${id}` } },
      spec: {
        ...{ driver: 'zfs.csi.openebs.io', deletionPolicy: 'Delete', volumeSnapshotClassName: 'zfs' },
        source: { volumeHandle: `pvc-${id}` },
        volumeSnapshotRef: { name: `snap-${id}`, namespace },
      },
    },
    {
      ...{ apiVersion: 'zfs.openebs.io/v1', kind: 'ZFSSnapshot' },
      metadata: { name: `snapshot-${id}`, namespace: OPENEBS },
      spec: { ownerNodeID: node, poolName: 'tank', capacity: '1048576', volumeType: 'ZVOL' },
    },
  ];
}

function readyContent(id: string, namespace: string): object {
  return {
    ...{ apiVersion: 'snapshot.storage.k8s.io/v1', kind: 'VolumeSnapshotContent' },
    metadata: { name: `content-${id}` },
    spec: { volumeSnapshotRef: { name: `snap-${id}`, namespace } },
    status: { snapshotHandle: `pvc-${id}@snapshot-${id}`, readyToUse: true, restoreSize: 1 << 20 },
  };
}
