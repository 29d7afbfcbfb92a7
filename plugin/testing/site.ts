import { randomUUID } from 'node:crypto';
import { KINDS } from '../../api/kinds.ts';
import { customResourceDefinition } from '../../api/schema/kind.ts';
import { run } from '../../datamover/process/spawn.ts';
import { startOwnCluster, type OwnCluster } from '../../e2e/servers/kubernetes.ts';
import { requirePeer } from '../../e2e/servers/peers.ts';
import type { ActionContext, KubernetesItem, VeleroBackup, VeleroRestore } from '../actions/contract.ts';
import { createLog } from '../goplugin/log.ts';

/** A control plane with all kinds that the actions know, and what Velero would tell them. */
export interface ActionSite {
  readonly cluster: OwnCluster;
  /** Velero's namespace. */
  readonly velero: string;
  /** An application's namespace. */
  readonly application: string;
  readonly context: ActionContext;
  /** The `@message` of each line, behind its level. */
  readonly logged: string[];
  /** A kubectl-get of one object; undefined when it is not there. */
  get<T = KubernetesItem>(resource: string, namespace: string, name: string): Promise<T | undefined>;
  stop(): Promise<void>;
}

export async function startActionSite(): Promise<ActionSite> {
  const cluster = await startOwnCluster();
  await cluster.installSnapshotCrds();
  await installKinds(cluster);
  const veleroCrds = await run({
    file: requirePeer('velero').file,
    args: ['install', '--crds-only', '--dry-run', '--output', 'yaml'],
    env: { KUBECONFIG: cluster.kubeconfig },
  });
  await cluster.apply(veleroCrds.stdout);
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
  const [velero, application] = [await cluster.makeNamespace(), await cluster.makeNamespace()];
  const logged: string[] = [];
  const write = (line: string): void => {
    const entry = JSON.parse(line) as Readonly<Record<string, string>>;
    logged.push(`${entry['@level'] ?? ''}: ${entry['@message'] ?? ''}`);
  };
  const context: ActionContext = {
    log: createLog({ level: 'info', write }),
    signal: AbortSignal.timeout(600_000),
    features: new Set(['EnableCSI']),
    kubeconfig: cluster.kubeconfig,
    veleroNamespace: velero,
  };
  const get: ActionSite['get'] = async <T>(resource: string, namespace: string, name: string) => {
    const found = await cluster.kubectl([
      ...['get', resource, name, `--namespace=${namespace}`, '--ignore-not-found', '--output=json'],
    ]);
    return found.trim() === '' ? undefined : (JSON.parse(found) as T);
  };
  return { cluster, velero, application, context, logged, get, stop: () => cluster.stop() };
}

/** Our own kinds, as the chart installs them. */
export async function installKinds(cluster: Pick<OwnCluster, 'apply'>): Promise<void> {
  await cluster.apply(...KINDS.map(customResourceDefinition));
}

export function backupOf(
  namespace: string,
  name: string,
  more: { readonly uid?: string; readonly spec?: object; readonly phase?: string } = {},
): VeleroBackup {
  const { uid = randomUUID(), spec = {}, phase = 'InProgress' } = more;
  return {
    apiVersion: 'velero.io/v1',
    kind: 'Backup',
    metadata: { name, namespace, uid },
    spec: { storageLocation: 'default', ...spec },
    status: { phase },
  };
}

export function restoreOf(namespace: string, name: string, spec: object = {}): VeleroRestore {
  return {
    apiVersion: 'velero.io/v1',
    kind: 'Restore',
    metadata: { name, namespace, uid: randomUUID() },
    spec: { ...spec },
    status: { phase: 'InProgress' },
  };
}
