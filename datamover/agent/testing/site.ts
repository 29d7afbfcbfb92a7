import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { spawn, type ChildProcess } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crdFiles } from '../../../api/crd-files.ts';
import { transferIdOf } from '../../../api/derived-names.ts';
import { KINDS } from '../../../api/kinds.ts';
import { transferSecretName } from '../../../api/names.ts';
import { renderChart } from '../../../e2e/chart/render.ts';
import { startOwnCluster, type OwnCluster } from '../../../e2e/servers/kubernetes.ts';
import { makeClient, type Client } from '../../kubernetes/client.ts';
import { loadConfiguration } from '../../kubernetes/configuration.ts';
import { SECRETS } from '../../kubernetes/core-resources.ts';
import { until } from '../../kubernetes/testing/waiting.ts';
import type { AgentOptions } from '../options.ts';
import { BACKUPS, RESTORES, type Backup, type Restore } from '../transfer.ts';

/** As bin/datamover starts an agent. */
const NODE_ARGS = ['--max-semi-space-size=1', '--initial-old-space-size=40', '--heap-growing-percent=20'];
/** Seconds of the leases of agents here. */
export const TEST_LEASE_SECONDS = 12;

/** An agent as a process of its own, with what it logged. */
export interface RunningAgent {
  readonly pid: number;
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  /** Waits for a line whose message matches. */
  said(pattern: RegExp): Promise<Readonly<Record<string, unknown>>>;
  /** The child that was started last. */
  childPid(): Promise<number>;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<number | null>;
}

export type StorageStatus = NonNullable<NonNullable<Backup['status']>['storage']>;

/** A cluster with the kinds, and tests in the controller's place: they write what it would by the contract. */
export class AgentSite {
  readonly cluster: OwnCluster;
  readonly controller: Client;
  /** The mover's namespace, and the one of the volumes. */
  readonly mover: string;
  readonly shop: string;
  readonly folder: string;
  readonly #agents: ChildProcess[] = [];

  private constructor(cluster: OwnCluster, mover: string, shop: string, folder: string) {
    this.cluster = cluster;
    const configuration = loadConfiguration({ kubeconfig: cluster.kubeconfig });
    this.controller = makeClient(configuration, { fieldManager: 'datamover-controller' });
    this.mover = mover;
    this.shop = shop;
    this.folder = folder;
  }

  static async create(): Promise<AgentSite> {
    const cluster = await startOwnCluster();
    await cluster.apply(...crdFiles().values());
    const names = KINDS.map(({ plural, group }) => `crd/${plural}.${group}`);
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...names]);
    const [mover, shop] = [await cluster.makeNamespace(), await cluster.makeNamespace()];
    const site = new AgentSite(cluster, mover, shop, await mkdtemp(join(tmpdir(), 'datamover-agent-')));
    await site.#mountAccount();
    return site;
  }

  /** What the kubelet mounts into a pod. */
  get #account(): string {
    return join(this.folder, 'serviceaccount');
  }

  async #mountAccount(): Promise<void> {
    const { cluster, mover } = this;
    // Agents run with the chart's rights and no others.
    const only = ['templates/serviceaccounts.yaml', 'templates/agent-roles.yaml'];
    const values = { controller: { enabled: false } };
    await cluster.apply(await renderChart({ namespace: mover, values, only }));
    const token = await cluster.kubectl(['create', 'token', 'datamover-agent', `--namespace=${mover}`]);
    await mkdir(this.#account);
    await writeFile(join(this.#account, 'token'), token.trim(), { mode: 0o600 });
    await writeFile(join(this.#account, 'namespace'), mover);
    await copyFile(cluster.caFile, join(this.#account, 'ca.crt'));
  }

  async remove(): Promise<void> {
    for (const agent of this.#agents) agent.kill('SIGKILL');
    this.controller.close();
    await this.cluster.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  scratch(node: string): string {
    return join(this.folder, `scratch-${node}`);
  }

  /** Starts an agent and waits until it watches. */
  async agent(
    node: string,
    more: Partial<AgentOptions> = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<RunningAgent> {
    const options = {
      ...{ namespace: this.mover, node, pod: `agent-${node}-${randomUUID().slice(0, 4)}`, drivers: ['file'] },
      ...{ maxTransfers: 2, childMemoryBytes: 2 ** 30, progressIntervalMs: 500, scratch: this.scratch(node) },
      ...{
        gracePeriodMs: 60_000,
        leaseSeconds: TEST_LEASE_SECONDS,
        httpAddress: { host: '127.0.0.1', port: 0 },
      },
      ...{ serviceAccountFolder: this.#account, ...more },
    };
    const script = new URL('./agent-process.js', import.meta.url).pathname;
    const { hostname, port } = new URL(this.cluster.server);
    return this.#start([...NODE_ARGS, script, JSON.stringify(options)], {
      ...{ KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port, ...env },
    });
  }

  /** `datamover agent` itself. */
  async command(args: readonly string[], env: Readonly<Record<string, string>>): Promise<RunningAgent> {
    return this.#start([new URL('../../cli/main.js', import.meta.url).pathname, 'agent', ...args], env);
  }

  async #start(args: readonly string[], env: Readonly<Record<string, string>>): Promise<RunningAgent> {
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#agents.push(child);
    const lines: Record<string, unknown>[] = [];
    createInterface({ input: child.stderr.pipe(new PassThrough()) }).on('line', (line) => {
      try {
        lines.push(JSON.parse(line) as Record<string, unknown>);
      } catch {
        lines.push({ msg: line });
      }
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    const find = (pattern: RegExp) => lines.findLast(({ msg }) => pattern.test(String(msg)));
    const said = async (pattern: RegExp): Promise<Record<string, unknown>> => {
      await until(
        () => find(pattern) !== undefined || child.exitCode !== null,
        () => `the agent said ${pattern}; it said ${JSON.stringify(lines.slice(-15), undefined, 1)}`,
      );
      const line = find(pattern);
      if (line === undefined) throw new Error(`the agent ended: ${JSON.stringify(lines.slice(-5))}`);
      return line;
    };
    const agent: RunningAgent = {
      ...{ pid: child.pid ?? -1, lines, said, ended },
      childPid: async () => Number((await said(/^child started$/))['pid']),
      kill: (signal) => void child.kill(signal),
    };
    await agent.said(/^agent started$/);
    return agent;
  }

  /** A backup that the controller has given to a node, with the secret of its transfer. */
  async backup(
    node: string,
    storage: StorageStatus,
    secret: Readonly<Record<string, string | undefined>>,
    more: Partial<Backup['spec']> = {},
  ): Promise<Backup> {
    const client = this.controller.of(BACKUPS);
    const made = await client.create({
      metadata: { namespace: this.shop, name: `vsb-${randomUUID().slice(0, 8)}` },
      spec: {
        ...{ volumeSnapshotContent: { name: 'content' }, protectedNamespace: 'velero', backupTarget: 'main' },
        ...more,
      },
    });
    const transferID = transferIdOf('VolumeSnapshotBackup', made.metadata.uid);
    await this.#secret(transferID, secret);
    return client.applyStatus(this.shop, made.metadata.name, {
      ...{ phase: 'InProgress', batchingStatus: 'Processing', transferID, node, storage },
      sourcePVCData: { name: 'db' },
    });
  }

  async restore(
    node: string,
    storage: StorageStatus,
    secret: Readonly<Record<string, string | undefined>>,
    ref: Partial<Restore['spec']['volumeSnapshotMoverBackupRef']>,
  ): Promise<Restore> {
    const client = this.controller.of(RESTORES);
    const made = await client.create({
      metadata: { namespace: this.shop, name: `vsr-${randomUUID().slice(0, 8)}` },
      spec: {
        ...{ protectedNamespace: 'velero', backupTarget: 'main', verify: true },
        volumeSnapshotMoverBackupRef: { sourcePVCData: { name: 'db' }, ...ref },
      },
    });
    const transferID = transferIdOf('VolumeSnapshotRestore', made.metadata.uid);
    await this.#secret(transferID, secret);
    return client.applyStatus(this.shop, made.metadata.name, {
      ...{ phase: 'InProgress', batchingStatus: 'Processing', transferID, node, storage },
    });
  }

  async #secret(transferID: string, values: Readonly<Record<string, string | undefined>>): Promise<void> {
    const given = Object.entries(values).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value]],
    );
    await this.controller.of(SECRETS).create({
      metadata: { namespace: this.mover, name: transferSecretName(transferID) },
      stringData: Object.fromEntries(given) as Record<string, string>,
    });
  }

  /** The object once it looks so. */
  async seen<T extends Backup | Restore>(
    object: T,
    condition: (now: T) => boolean,
    patienceMs?: number,
  ): Promise<T> {
    let last = object;
    const { namespace, name } = object.metadata;
    const get = async (): Promise<T> =>
      (object.kind === 'VolumeSnapshotBackup'
        ? await this.controller.of(BACKUPS).get(namespace, name)
        : await this.controller.of(RESTORES).get(namespace, name)) as T;
    await until(
      async () => condition((last = await get().catch(() => last))),
      () => JSON.stringify(last.status, undefined, 1),
      patienceMs,
    );
    return last;
  }
}

/** The agent's condition: `True Complete`. */
export function transferredOf({ status }: Backup | Restore): string {
  const condition = status?.conditions?.find(({ type }) => type === 'Transferred');
  return condition === undefined ? '' : `${condition.status} ${condition.reason}`;
}

export function hasEnded(object: Backup | Restore): boolean {
  return /^(True|False)/.test(transferredOf(object));
}
