import { randomUUID } from 'node:crypto';
import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import https from 'node:https';
import { dirname, join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { makeCertificates, writeKubeconfig, type Certificates } from './kubernetes-certificates.ts';
import { answers } from './daemon.ts';
import { requirePeer, type PeerName } from './peers.ts';
import { freePorts } from './ports.ts';
import { startRestartable, type Restartable } from './restartable.ts';
import { scratchDirectory } from './scratch.ts';
import { sharedServer } from './shared.ts';

/** What a control plane is made of, for `describePeers`. */
export const KUBERNETES_PEERS = [
  'openssl',
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kubectl',
] as const satisfies readonly PeerName[];

/** A real control plane on this machine's loopback, without nodes. Plain values alone, so that it travels between processes. */
export interface KubernetesEndpoint {
  /** `https://127.0.0.1:PORT`. */
  readonly server: string;
  readonly caFile: string;
  /** A kubeconfig with all rights. */
  readonly kubeconfig: string;
  /** For files that live as long as the cluster. */
  readonly home: string;
  /** etcd's `http://127.0.0.1:PORT`. */
  readonly etcd: string;
}

export interface Cluster extends KubernetesEndpoint {
  /** Runs kubectl, as admin without another `kubeconfig`, and gives what it printed. */
  kubectl(
    args: readonly string[],
    options?: { readonly input?: string; readonly kubeconfig?: string },
  ): Promise<string>;
  /** `kubectl apply --server-side` of manifests: YAML text, or values that become JSON. */
  apply(...manifests: readonly (string | object)[]): Promise<void>;
  /** Writes a kubeconfig with a token of this ServiceAccount, which must exist; gives the file's path. */
  kubeconfigOf(namespace: string, serviceAccount: string): Promise<string>;
  /** Makes a namespace that no other test has. */
  makeNamespace(): Promise<string>;
  /** The six CRDs of snapshots and group snapshots, served when it resolves. */
  installSnapshotCrds(): Promise<void>;
  /** Ends a cluster of one's own and removes its data; the shared one (see shared.ts) stays for the other test files. */
  stop(): Promise<void>;
}

/** A cluster of one's own: its servers may be ended, killed, held and started again. */
export interface OwnCluster extends Cluster {
  readonly etcdServer: Restartable;
  readonly apiServer: Restartable;
  readonly controllerManager: Restartable;
  /**
   * Makes etcd forget all history up to now, as it does by itself every five minutes. The API server still answers from its
   * own cache what it has seen since its start: start it again for `410 Gone`.
   */
  compact(): Promise<void>;
}

/**
 * The cluster of this test run. Test files keep apart by namespaces; who needs other cluster-wide things than CRDs and roles of
 * names of their own starts an own one. Throws when the programs are not there (see `describePeers` and KUBERNETES_PEERS).
 */
export async function startCluster(): Promise<Cluster> {
  const shared = await sharedServer('kubernetes', false);
  if (shared === undefined) return startOwnCluster();
  return { ...shared, ...clientSide(shared), stop: () => shared.stop() };
}

/** A cluster that another process started, and that nobody ends from here. */
export function clusterAt(endpoint: KubernetesEndpoint): Omit<Cluster, 'stop'> {
  return { ...endpoint, ...clientSide(endpoint) };
}

/** etcd, kube-apiserver and kube-controller-manager: up in some 5 s, half a GiB of memory. */
export async function startOwnCluster(): Promise<OwnCluster> {
  const home = await scratchDirectory('kubernetes');
  const servers: Restartable[] = [];
  const stop = async (): Promise<void> => {
    // In the reverse order, or each waits for the one below it.
    for (const server of servers.toReversed()) await server.kill();
    await rm(home, { recursive: true, force: true });
  };
  const begin = async (command: Parameters<typeof startRestartable>[0]): Promise<Restartable> => {
    const server = await startRestartable(command);
    servers.push(server);
    return server;
  };
  try {
    const port = await freePorts(4);
    const certificates = await makeCertificates(home);
    const endpoint: KubernetesEndpoint = {
      server: `https://127.0.0.1:${port + 2}`,
      caFile: certificates.caFile,
      kubeconfig: join(home, 'admin.kubeconfig'),
      home,
      etcd: `http://127.0.0.1:${port}`,
    };
    const managerConfig = join(home, 'manager.kubeconfig');
    const { server, caFile } = endpoint;
    await writeKubeconfig(endpoint.kubeconfig, server, caFile, certificates.admin);
    await writeKubeconfig(managerConfig, server, caFile, certificates.controllerManager);
    const etcdServer = await begin(etcdCommand(endpoint, port + 1));
    const apiServer = await begin(apiServerCommand(endpoint, port + 2, certificates));
    const controllerManager = await begin(managerCommand(managerConfig, port + 3, certificates));
    return {
      ...endpoint,
      ...clientSide(endpoint),
      ...{ etcdServer, apiServer, controllerManager, stop },
      compact: () => compactEtcd(endpoint.etcd),
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function etcdCommand({ home, etcd }: KubernetesEndpoint, peerPort: number) {
  const peer = `http://127.0.0.1:${peerPort}`;
  return {
    file: requirePeer('etcd').file,
    args: [
      ...['--name=tests', `--data-dir=${join(home, 'etcd')}`, '--log-level=error', '--logger=zap'],
      ...[`--listen-client-urls=${etcd}`, `--advertise-client-urls=${etcd}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
      `--initial-cluster=tests=${peer}`,
    ],
    ready: () => answers(`${etcd}/health`),
  };
}

function apiServerCommand({ server, etcd, home }: KubernetesEndpoint, port: number, made: Certificates) {
  return {
    file: requirePeer('kube-apiserver').file,
    args: [
      ...[`--etcd-servers=${etcd}`, '--bind-address=127.0.0.1', '--advertise-address=127.0.0.1'],
      ...[`--secure-port=${port}`, `--cert-dir=${home}`, '--endpoint-reconciler-type=none'],
      ...[`--tls-cert-file=${made.server.certFile}`, `--tls-private-key-file=${made.server.keyFile}`],
      ...[`--client-ca-file=${made.caFile}`, '--authorization-mode=Node,RBAC', '--allow-privileged'],
      ...[
        `--service-account-key-file=${made.tokenKey}`,
        `--service-account-signing-key-file=${made.tokenKey}`,
      ],
      ...[
        '--service-account-issuer=https://kubernetes.default.svc',
        '--service-cluster-ip-range=10.0.0.0/24',
      ],
    ],
    ready: async () => {
      const ready = await request(`${server}/readyz`, made);
      const rights = await request(`${server}/apis/rbac.authorization.k8s.io/v1/clusterroles/view`, made);
      return ready === 200 && rights === 200;
    },
  };
}

function managerCommand(kubeconfig: string, port: number, made: Certificates) {
  const health = `https://127.0.0.1:${port}/healthz`;
  return {
    file: requirePeer('kube-controller-manager').file,
    args: [
      ...[`--kubeconfig=${kubeconfig}`, '--use-service-account-credentials', '--leader-elect=false'],
      ...['--bind-address=127.0.0.1', `--secure-port=${port}`],
      ...[`--tls-cert-file=${made.server.certFile}`, `--tls-private-key-file=${made.server.keyFile}`],
      ...[`--service-account-private-key-file=${made.tokenKey}`, `--root-ca-file=${made.caFile}`],
      // The defaults spare a large cluster: deleting a namespace would take many seconds.
      ...['--kube-api-qps=500', '--kube-api-burst=1000'],
      // A claim that waits for a volume with a label is looked at no sooner.
      '--pvclaimbinder-sync-period=2s',
    ],
    ready: async () => (await request(health, made)) === 200,
  };
}

/** The status with which an address answers the cluster's admin; throws while nobody listens. */
async function request(url: string, made: Certificates): Promise<number> {
  const [ca, cert, key] = await Promise.all(
    [made.caFile, made.admin.certFile, made.admin.keyFile].map((file) => readFile(file)),
  );
  return new Promise((resolve, reject) => {
    const call = https.get(url, { ca, cert, key, agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    call.once('timeout', () => call.destroy(new Error('no answer')));
    call.once('error', reject);
  });
}

async function compactEtcd(etcd: string): Promise<void> {
  const post = async (path: string, body: object): Promise<unknown> => {
    const response = await fetch(`${etcd}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd ${path}: ${await response.text()}`);
    return response.json();
  };
  const key = Buffer.from('none').toString('base64');
  const { header } = (await post('kv/range', { key })) as { header: { revision: string } };
  await post('kv/compaction', { revision: header.revision, physical: true });
}

function clientSide(endpoint: KubernetesEndpoint) {
  const { home, server, caFile } = endpoint;
  const kubectl: Cluster['kubectl'] = async (args, { input, kubeconfig = endpoint.kubeconfig } = {}) => {
    const { stdout } = await run({
      file: requirePeer('kubectl').file,
      args: [`--kubeconfig=${kubeconfig}`, `--cache-dir=${join(home, 'kubectl')}`, ...args],
      ...(input === undefined ? {} : { input }),
      // Settings of whoever runs the tests change nothing.
      env: { KUBECONFIG: undefined, KUBERNETES_SERVICE_HOST: undefined },
    });
    return stdout;
  };
  const apply: Cluster['apply'] = async (...manifests) => {
    const documents = manifests.map((manifest) =>
      typeof manifest === 'string' ? manifest : JSON.stringify(manifest),
    );
    await kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], {
      input: documents.join('\n---\n'),
    });
  };
  return {
    kubectl,
    apply,
    async kubeconfigOf(namespace: string, serviceAccount: string): Promise<string> {
      // Nobody renews it, and a cluster may run for days.
      const wish = [serviceAccount, `--namespace=${namespace}`, '--duration=720h'];
      const token = await kubectl(['create', 'token', ...wish]);
      const folder = join(home, 'kubeconfigs');
      await mkdir(folder, { recursive: true });
      const file = join(folder, randomUUID());
      await writeKubeconfig(file, server, caFile, { token: token.trim() });
      return file;
    },
    async makeNamespace(): Promise<string> {
      const name = `test-${randomUUID().slice(0, 13)}`;
      await kubectl(['create', 'namespace', name]);
      return name;
    },
    async installSnapshotCrds(): Promise<void> {
      const folder = join(dirname(requirePeer('snapshot-controller').file), 'snapshot-crds');
      const crds = (await readdir(folder)).filter((name) => name.includes('.k8s.io_'));
      const files = crds.map((name) => `--filename=${join(folder, name)}`);
      await kubectl(['apply', '--server-side', '--force-conflicts', ...files]);
      await kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...files]);
    },
  };
}
