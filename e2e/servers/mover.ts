import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import { KINDS } from '../../api/kinds.ts';
import { customResourceDefinition } from '../../api/schema/kind.ts';
import { renderChart } from '../chart/render.ts';
import { answers } from './daemon.ts';
import type { Cluster } from './kubernetes.ts';
import type { OpenZfsEndpoint } from './openzfs.ts';
import type { PeerName } from './peers.ts';
import { freePorts } from './ports.ts';
import { startRestartable, type Restartable } from './restartable.ts';
import { scratchDirectory } from './scratch.ts';

/** What `startMover` needs beside a cluster, for `describePeers`. */
export const MOVER_PEERS = ['helm'] as const satisfies readonly PeerName[];

export interface AgentOptions {
  readonly node: string;
  /** What it can reach, as `--drivers`. */
  readonly drivers: string;
  /** The machine that has its ZFS; its block devices come through a double of /dev/zvol. */
  readonly machine?: OpenZfsEndpoint;
}

export interface MoverOptions {
  readonly cluster: Cluster;
  readonly veleroNamespace: string;
  readonly agents: readonly AgentOptions[];
  /** `NAMESPACE/NAME` of ceph-csi's configuration; its secrets lie beside it. */
  readonly cephCsiConfig?: string;
  /** zfs-localpv's, where there is one. */
  readonly zfsNamespace?: string;
  /** More flags of `datamover controller`. */
  readonly args?: readonly string[];
  /** Of the restic repositories; a random one without it. */
  readonly password?: string;
}

export interface Mover {
  /** The mover's own namespace. */
  readonly namespace: string;
  readonly password: string;
  readonly controller: Restartable;
  /** By node. */
  readonly agents: ReadonlyMap<string, Restartable>;
  /** One more, on another node. */
  addAgent(options: AgentOptions): Promise<void>;
  /** Everything that controller and agents have logged. */
  log(): Promise<string>;
  stop(): Promise<void>;
}

/** The command as it is built in this checkout. */
const COMMAND = fileURLToPath(new URL('../../../bin/datamover', import.meta.url));
/** The same, not bundled: a double takes the place of a module, and in a bundle there are none. */
const MODULES = fileURLToPath(new URL('../../datamover/cli/main.js', import.meta.url));
/** What an agent and its children open devices of ZFS with. */
const DEVICES = new URL('zvol-devices-double.js', import.meta.url).href;
const NAMESPACE = 'datamover';
/** The secret whose RESTIC_PASSWORD serves repositories beside a BackupStorageLocation, as in OADP. */
const CREDENTIAL = 'dm-credential';

/**
 * The CustomResourceDefinitions of `api/`. Before Velero starts: it looks for new kinds every five minutes alone, and until then leaves
 * VolumeSnapshotBackups out of its archives.
 */
export async function installKinds(cluster: Cluster): Promise<void> {
  await cluster.apply(...KINDS.map(customResourceDefinition));
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
}

/**
 * Our kinds, the password's secret, `datamover controller`, and a `datamover agent` for each node, outside of the cluster. They have the
 * chart's accounts, and no right that its roles do not give.
 */
export async function startMover(options: MoverOptions): Promise<Mover> {
  const { cluster, veleroNamespace, password = randomBytes(16).toString('hex') } = options;
  const home = await scratchDirectory('mover');
  const logFile = join(home, 'log');
  await installKinds(cluster);
  await cluster.apply(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: CREDENTIAL, namespace: veleroNamespace } },
      stringData: { RESTIC_PASSWORD: password },
    },
    pluginSettings(veleroNamespace),
  );
  const accounts = await makeAccounts(NAMESPACE, options);
  const running: { stop(): Promise<void> }[] = [];
  const begin = async (verb: keyof Accounts, args: readonly string[], machine?: OpenZfsEndpoint) => {
    const address = `127.0.0.1:${await freePorts(1)}`;
    const common = ['--namespace', NAMESPACE, '--http-address', address, '--kubeconfig', accounts[verb]];
    const command = machine === undefined ? { file: COMMAND } : { file: execPath, before: [MODULES] };
    const process = await startRestartable({
      ...{
        file: command.file,
        args: [...(command.before ?? []), verb, ...common, ...args],
        subject: `datamover ${verb}`,
      },
      env: {
        ...(machine === undefined ? {} : { ...machine.environment, NODE_OPTIONS: `--import=${DEVICES}` }),
        KUBERNETES_SERVICE_HOST: undefined,
      },
      ...{ logFile, logsToStderr: true, patience: 180_000 },
      ready: () => answers(`http://${address}/readyz`),
    });
    running.push(process);
    return process;
  };
  const stop = async (): Promise<void> => {
    for (const process of running.toReversed()) await process.stop();
    await rm(home, { recursive: true, force: true });
  };
  try {
    const controller = await begin('controller', [
      ...['--protected-namespaces', veleroNamespace, '--velero-namespace', veleroNamespace],
      ...(options.cephCsiConfig === undefined ? [] : ['--ceph-csi-config', options.cephCsiConfig]),
      ...(options.zfsNamespace === undefined ? [] : ['--zfs-namespace', options.zfsNamespace]),
      ...(options.args ?? []),
    ]);
    const agents = new Map<string, Restartable>();
    const addAgent = async ({ node, drivers, machine }: AgentOptions): Promise<void> => {
      const scratch = join(home, node);
      await mkdir(scratch);
      const flags = ['--node', node, '--pod', `agent-${node}`, '--scratch', scratch, '--drivers', drivers];
      agents.set(node, await begin('agent', flags, machine));
    };
    for (const agent of options.agents) await addAgent(agent);
    return {
      ...{ namespace: NAMESPACE, password, controller, agents, addAgent, stop },
      log: () => readFile(logFile, 'utf8'),
    };
  } catch (error) {
    const said = await readFile(logFile, 'utf8').catch(() => '');
    await stop();
    throw new Error(`start the mover; its log ends with: ${said.slice(-3000)}`, { cause: error });
  }
}

/** Kubeconfigs of the chart's ServiceAccounts. */
export interface Accounts {
  readonly controller: string;
  readonly agent: string;
}

/** Makes the chart's accounts with the roles that it gives them, in a mover's namespace. */
export async function makeAccounts(
  namespace: string,
  {
    cluster,
    veleroNamespace,
    cephCsiConfig = '',
    zfsNamespace = '',
  }: Pick<MoverOptions, 'cluster' | 'veleroNamespace' | 'cephCsiConfig' | 'zfsNamespace'>,
): Promise<Accounts> {
  const [cephNamespace = ''] = cephCsiConfig.split('/');
  const values = {
    ...{ protectedNamespaces: [veleroNamespace], veleroNamespace, zfsNamespace },
    ceph: { csiConfig: cephCsiConfig, secretNamespaces: cephNamespace === '' ? [] : [cephNamespace] },
  };
  const only = ['serviceaccounts', 'controller-roles', 'agent-roles'].map((name) => `templates/${name}.yaml`);
  await cluster.apply(await renderChart({ namespace, values, only }));
  return {
    controller: await cluster.kubeconfigOf(namespace, 'datamover-controller'),
    agent: await cluster.kubeconfigOf(namespace, 'datamover-agent'),
  };
}

/** Enables the plugin: plain CSI backups are moved. */
function pluginSettings(namespace: string): object {
  const labels = { 'velero.io/plugin-config': '', 'datamover.io/move-snapshot': 'BackupItemActionV2' };
  return {
    ...{ apiVersion: 'v1', kind: 'ConfigMap', data: {} },
    metadata: { name: 'datamover', namespace, labels },
  };
}
