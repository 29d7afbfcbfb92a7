import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KINDS } from '../../api/kinds.ts';
import { customResourceDefinition } from '../../api/schema/kind.ts';
import { answers } from './daemon.ts';
import type { Cluster } from './kubernetes.ts';
import type { OpenZfsEndpoint } from './openzfs.ts';
import { freePorts } from './ports.ts';
import { startRestartable, type Restartable } from './restartable.ts';
import { scratchDirectory } from './scratch.ts';
import { bridgePorts } from './vm-bridge.ts';

export interface AgentOptions {
  readonly node: string;
  /** What it can reach, as `--drivers`. */
  readonly drivers: string;
  /** It runs inside this machine, where ZFS is, and reaches these ports of ours. */
  readonly inside?: { readonly machine: OpenZfsEndpoint; readonly ports: readonly number[] };
}

export interface MoverOptions {
  readonly cluster: Cluster;
  readonly veleroNamespace: string;
  readonly agents: readonly AgentOptions[];
  /** `NAMESPACE/NAME` of ceph-csi's configuration. */
  readonly cephCsiConfig?: string;
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
  /** Everything that controller and agents have logged. */
  log(): Promise<string>;
  stop(): Promise<void>;
}

/** The command as it is built in this checkout. */
const COMMAND = fileURLToPath(new URL('../../../bin/datamover', import.meta.url));
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

/** Our kinds, the password's secret, `datamover controller`, and a `datamover agent` for each node, outside of the cluster. */
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
  const running: { stop(): Promise<void> }[] = [];
  const begin = async (verb: string, args: readonly string[], inside?: AgentOptions['inside']) => {
    const address = `127.0.0.1:${await freePorts(1)}`;
    const common = ['--namespace', NAMESPACE, '--http-address', address, '--kubeconfig', cluster.kubeconfig];
    const command = [verb, ...common, ...args];
    const proxied = inside === undefined ? [COMMAND] : ['vm', '--host', COMMAND];
    const [file = COMMAND, ...first] = proxied;
    const process = await startRestartable({
      ...{ file, args: [...first, ...command], subject: `datamover ${verb}` },
      env: { ...inside?.machine.environment, KUBERNETES_SERVICE_HOST: undefined },
      ...{ logFile, logsToStderr: true, patience: 180_000 },
      // What listens inside of a machine is not to be reached from here; but a lease says that it works.
      ready: async () =>
        inside === undefined
          ? answers(`http://${address}/readyz`)
          : (await cluster.kubectl(['get', 'leases', '--namespace', NAMESPACE])).includes(args[1] ?? ''),
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
      ...(options.args ?? []),
    ]);
    const agents = new Map<string, Restartable>();
    for (const { node, drivers, inside } of options.agents) {
      const scratch = join(home, node);
      await mkdir(scratch);
      if (inside !== undefined) running.push(await bridgePorts(inside.machine, inside.ports));
      const flags = ['--node', node, '--pod', `agent-${node}`, '--scratch', scratch, '--drivers', drivers];
      agents.set(node, await begin('agent', flags, inside));
    }
    return {
      ...{ namespace: NAMESPACE, password, controller, agents, stop },
      log: () => readFile(logFile, 'utf8'),
    };
  } catch (error) {
    const said = await readFile(logFile, 'utf8').catch(() => '');
    await stop();
    throw new Error(`start the mover; its log ends with: ${said.slice(-3000)}`, { cause: error });
  }
}

/** Enables the plugin: plain CSI backups are moved. */
function pluginSettings(namespace: string): object {
  const labels = { 'velero.io/plugin-config': '', 'datamover.io/move-snapshot': 'BackupItemActionV2' };
  return {
    ...{ apiVersion: 'v1', kind: 'ConfigMap', data: {} },
    metadata: { name: 'datamover', namespace, labels },
  };
}
