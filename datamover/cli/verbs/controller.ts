import { runElected } from '../../controllers/process.ts';
import { makeClient } from '../../kubernetes/client.ts';
import { loadConfiguration } from '../../kubernetes/configuration.ts';
import {
  addFlags,
  COMMON_FLAGS,
  parseAddress,
  parseDuration,
  parseMemory,
  parseName,
  parseNumber,
  readFlags,
  type Flag,
} from '../component-flags.ts';
import { componentLog } from '../component-log.ts';
import { parseCount } from '../arguments.ts';
import type { Verb } from '../verb.ts';

const number = (name: string, description: string, fallback: string): Flag<number> => ({
  ...{ name, value: 'number', description, fallback, parse: parseNumber },
});
const span = (name: string, description: string, fallback: string): Flag<number> => ({
  ...{ name, value: 'span', description, fallback, parse: parseDuration },
});
const name = (flag: string, description: string) => ({
  ...{ name: flag, value: 'name', description, optional: true as const, parse: parseName },
});

const FLAGS = {
  ...COMMON_FLAGS,
  pod: {
    ...{ name: 'pod', value: 'name', description: 'who writes its events and leads', env: ['POD_NAME'] },
    ...{ fallback: 'datamover-controller', parse: parseName },
  },
  protectedNamespaces: {
    ...{ name: 'protected-namespaces', value: 'list', fallback: '', parse: parseNames },
    description: "where secrets and BackupTargets may be read, beside the mover's own",
  },
  veleroNamespace: name('velero-namespace', 'where DataUploads and DataDownloads are served'),
  zfsNamespace: {
    ...{ name: 'zfs-namespace', value: 'name', description: 'where zfs-localpv keeps its objects' },
    ...{ fallback: 'openebs', parse: parseName },
  },
  cephCsiConfig: {
    ...{ name: 'ceph-csi-config', value: 'namespace/configmap', description: "ceph-csi's clusters" },
    ...{ optional: true as const, parse: parseReference },
  },
  clusterName: name(
    'cluster-name',
    "the host of the repository's snapshots (default: by the UID of kube-system)",
  ),
  mapping: name('mapping', 'ConfigMap with new names of storage classes and nodes for restores'),
  credentialSecret: {
    ...{ name: 'credential-secret', value: 'name', fallback: 'dm-credential', parse: parseName },
    description: 'RESTIC_PASSWORD for repositories in a BackupStorageLocation',
  },
  maxTransfers: number('max-transfers', 'at once in the cluster', '20'),
  maxTransfersPerNode: number('max-transfers-per-node', 'at once on a node', '2'),
  maxTransfersPerTarget: number('max-transfers-per-target', 'at once on a target', '10'),
  retries: {
    ...{ name: 'retries', value: 'number', description: 'attempts after the first' },
    ...{ fallback: '5', parse: parseCount },
  },
  retryBackoff: span('retry-backoff', 'before the first of them', '30s'),
  snapshotTimeout: span('snapshot-timeout', 'for a snapshot to become ready', '10m'),
  claimTimeout: span('claim-timeout', 'for an agent to claim what was assigned to it', '5m'),
  stallTimeout: span('stall-timeout', 'for a claimed transfer without progress', '30m'),
  volumeTimeout: span('volume-timeout', 'for a helper volume or a claim to get its volume', '30m'),
  cleanupTimeout: span('cleanup-timeout', 'for an end; then the finalizer goes', '5m'),
  nodeTimeout: span('node-timeout', 'for an agent on the only node that reaches a queued transfer', '4h'),
  resyncInterval: span('resync-interval', 'every object is looked at again', '10m'),
  childMemory: {
    ...{ name: 'child-memory', value: 'size', description: 'cap of each child on a repository' },
    ...{ fallback: '512Mi', parse: parseMemory },
  },
  leaderElect: {
    ...{ name: 'leader-elect', value: 'boolean', description: 'false for a single process' },
    ...{ fallback: 'true', parse: parseBoolean },
  },
  httpAddress: {
    ...{ name: 'http-address', value: 'address', description: 'health, readiness, metrics' },
    ...{ fallback: ':8080', parse: parseAddress },
  },
} as const;

const EXAMPLES = `
Runs once in a cluster, as part of the chart (docs/kubernetes.md); of several processes one works, and another takes over
when it ends. Each flag may be in the environment; the flag goes first.`;

export const verb: Verb = {
  configure(command, run) {
    addFlags(
      command.description('Leads backups and restores of a Kubernetes cluster; the agents carry them.'),
      Object.values(FLAGS),
    );
    command.addHelpText('after', EXAMPLES).action((given: Record<string, unknown>) =>
      run(async ({ env, interrupt }) => {
        const { kubeconfig, logLevel, httpAddress, leaderElect, pod, ...flags } = readFlags(
          FLAGS,
          given,
          env,
        );
        const { veleroNamespace, cephCsiConfig, clusterName, mapping, ...rest } = flags;
        const log = componentLog('controller', logLevel, { pod });
        const client = makeClient(loadConfiguration(kubeconfig === undefined ? {} : { kubeconfig }), {
          fieldManager: 'datamover-controller',
        });
        const settings = {
          ...rest,
          ...(veleroNamespace === undefined ? {} : { veleroNamespace }),
          ...(cephCsiConfig === undefined ? {} : { cephCsiConfig }),
          ...(clusterName === undefined ? {} : { clusterName }),
          ...(mapping === undefined ? {} : { mapping }),
        };
        interrupt.describe({
          operation: 'lead transfers',
          hint: 'the next controller goes on from what the objects say',
        });
        try {
          await runElected({
            ...{ client, settings, log, httpAddress, leaderElect, instance: pod, signal: interrupt.signal },
          });
        } finally {
          client.close();
        }
      }),
    );
  },
};

function parseNames(text: string): readonly string[] {
  const names = text.split(',').map((one) => one.trim());
  return names.filter((one) => one !== '').map(parseName);
}

function parseReference(text: string): { readonly namespace: string; readonly name: string } {
  const [namespace = '', configMap = '', ...more] = text.split('/');
  if (more.length > 0) throw new Error('write NAMESPACE/CONFIGMAP');
  return { namespace: parseName(namespace), name: parseName(configMap) };
}

function parseBoolean(text: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  throw new Error('write true or false');
}
