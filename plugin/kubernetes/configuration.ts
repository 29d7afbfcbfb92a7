import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** How the API server is reached and who we are there. */
export interface Configuration {
  /** `https://HOST:PORT`, perhaps with a path. */
  readonly server: string;
  readonly tls: {
    readonly ca?: Buffer;
    readonly cert?: Buffer;
    readonly key?: Buffer;
    readonly servername?: string;
    readonly rejectUnauthorized?: boolean;
  };
  /** The Authorization header; asked for each request, for a kubelet replaces the token in its file. */
  authorization(): Promise<string | undefined>;
}

/** https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/ */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Where Velero itself looks (client-go's loading rules): the kubeconfig of its flag, else those of KUBECONFIG, else the pod's service
 * account, else the home directory's.
 */
export async function loadConfiguration(
  kubeconfig: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Configuration> {
  const named = kubeconfig ?? env['KUBECONFIG'] ?? '';
  const files = kubeconfig === undefined ? named.split(':').filter((file) => file !== '') : [named];
  const host = env['KUBERNETES_SERVICE_HOST'];
  if (files.length === 0 && host !== undefined)
    return serviceAccount(host, env['KUBERNETES_SERVICE_PORT'] ?? '443');
  const { readKubeconfig } = await import('./kubeconfig.ts');
  return readKubeconfig(files.length === 0 ? [join(homedir(), '.kube/config')] : files);
}

async function serviceAccount(host: string, port: string): Promise<Configuration> {
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tls: { ca: await readFile(`${SERVICE_ACCOUNT}/ca.crt`) },
    authorization: () => bearer(`${SERVICE_ACCOUNT}/token`),
  };
}

export async function bearer(file: string): Promise<string> {
  return `Bearer ${(await readFile(file, 'utf8')).trim()}`;
}
