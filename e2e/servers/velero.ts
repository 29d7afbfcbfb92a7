import { chmod, cp, link, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { KUBERNETES_PEERS, type Cluster } from './kubernetes.ts';
import { requirePeer, type PeerName } from './peers.ts';
import { freePorts } from './ports.ts';
import { startRestartable, type Restartable } from './restartable.ts';
import { makeBucket, type S3Endpoint } from './s3-server.ts';
import { scratchDirectory } from './scratch.ts';

/** What a Velero needs, for `describePeers`. */
export const VELERO_PEERS = [...KUBERNETES_PEERS, 'velero', 'minio'] as const satisfies readonly PeerName[];

export interface VeleroOptions {
  readonly cluster: Cluster;
  /** Where backups go; its bucket is `bucket`, or a new one. */
  readonly s3: S3Endpoint;
  readonly bucket?: string;
  /** The plugin executable. */
  readonly plugin: string;
  /** Velero's namespace; a new one without it. */
  readonly namespace?: string;
  /** More flags of `velero server`. */
  readonly args?: readonly string[];
}

export interface Velero {
  readonly namespace: string;
  readonly bucket: string;
  /** Ended, killed and started again by tests. */
  readonly server: Restartable;
  /** Runs the `velero` command and gives what it printed. */
  cli(...args: string[]): Promise<string>;
  /** Ids and command lines of the plugin processes that it has started and that still run. */
  pluginProcesses(): Promise<readonly PluginProcess[]>;
  /** Everything the server has logged. */
  log(): Promise<string>;
  stop(): Promise<void>;
}

export interface PluginProcess {
  readonly pid: number;
  readonly command: string;
}

/** The name of the ObjectStore in our plugin. */
const PROVIDER = 'datamover.io/s3';

/**
 * A real Velero server outside of the cluster, with our plugin in its plugin directory and a default BackupStorageLocation that our
 * ObjectStore serves. It stays within its namespace, so several may share a cluster.
 */
export async function startVelero(options: VeleroOptions): Promise<Velero> {
  const { cluster, s3 } = options;
  const home = await scratchDirectory('velero');
  const namespace = options.namespace ?? (await cluster.makeNamespace());
  const bucket = options.bucket ?? (await makeBucket(s3));
  const plugins = join(home, 'plugins');
  const logFile = join(home, 'server.log');
  const env = {
    ...{ KUBECONFIG: cluster.kubeconfig, HOME: home, TMPDIR: home, VELERO_NAMESPACE: namespace },
    // Nothing of whoever runs the tests: the location has its own credentials.
    ...{ AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined, KUBERNETES_SERVICE_HOST: undefined },
  };
  const { file } = requirePeer('velero');
  const cli: Velero['cli'] = async (...args) =>
    (await run({ file, args: [...args, '--namespace', namespace, '--colorized=false'], env })).stdout;
  let server: Restartable | undefined;
  const stop = async (): Promise<void> => {
    await server?.kill();
    // Velero's own plugins outlive a server that was killed.
    for (const { pid } of await pluginProcesses(plugins)) process.kill(pid, 'SIGKILL');
    await rm(home, { recursive: true, force: true });
  };
  try {
    await mkdir(plugins);
    await place(options.plugin, join(plugins, 'velero-plugin-datamover'));
    await cluster.apply(await cli('install', '--crds-only', '--dry-run', '--output', 'yaml'));
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
    await cluster.apply(deployment(namespace), ...location(namespace, bucket, s3));
    const port = await freePorts(2);
    server = await startRestartable({
      file,
      args: [
        ...['server', '--namespace', namespace, '--plugin-dir', plugins, '--log-level=debug'],
        ...['--features=EnableCSI', '--uploader-type=kopia', '--item-operation-sync-frequency=1s'],
        // It looks for a claim's snapshot every five seconds: by one worker claim after claim.
        '--item-block-worker-count=8',
        ...[`--metrics-address=127.0.0.1:${port}`, `--profiler-address=127.0.0.1:${port + 1}`],
        ...(options.args ?? []),
      ],
      env,
      logFile,
      ready: async () => {
        const phase = [
          'get',
          'bsl',
          'default',
          '--namespace',
          namespace,
          '--output=jsonpath={.status.phase}',
        ];
        return (await cluster.kubectl(phase)) === 'Available';
      },
      patience: 120_000,
    });
    return {
      ...{ namespace, bucket, server, cli, stop },
      pluginProcesses: () => pluginProcesses(plugins),
      log: () => readFile(logFile, 'utf8'),
    };
  } catch (error) {
    const said = await readFile(logFile, 'utf8').catch(() => '');
    await stop();
    throw new Error(`start velero: ${String(error)}; its log ends with: ${said.slice(-3000)}`, {
      cause: error,
    });
  }
}

/** Plugins get the server's flags, and with them the plugin directory, which nobody else has. */
async function pluginProcesses(plugins: string): Promise<PluginProcess[]> {
  const found: PluginProcess[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (command.split('\0').includes(plugins))
      found.push({ pid: Number(name), command: command.replaceAll('\0', ' ') });
  }
  return found;
}

/** By a hard link where that works: the executable has a hundred megabytes. */
async function place(executable: string, target: string): Promise<void> {
  await link(executable, target).catch(() => cp(executable, target));
  await chmod(target, 0o755);
}

/** Without pods; restores ask it for the image of Velero. */
function deployment(namespace: string): object {
  const labels = { app: 'velero' };
  const containers = [{ name: 'velero', image: 'velero/velero:tests' }];
  return {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'velero', namespace } },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
    },
  };
}

function location(namespace: string, bucket: string, s3: S3Endpoint): object[] {
  const keys = `[default]\naws_access_key_id=${s3.accessKey}\naws_secret_access_key=${s3.secretKey}\n`;
  return [
    {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'cloud', namespace } },
      stringData: { keys },
    },
    {
      ...{
        apiVersion: 'velero.io/v1',
        kind: 'BackupStorageLocation',
        metadata: { name: 'default', namespace },
      },
      spec: {
        ...{ provider: PROVIDER, default: true, objectStorage: { bucket } },
        credential: { name: 'cloud', key: 'keys' },
        config: { region: s3.region, s3Url: s3.endpoint, s3ForcePathStyle: 'true' },
      },
    },
  ];
}
