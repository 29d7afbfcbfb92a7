import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { join } from 'node:path';
import type { Configuration, Credentials } from './configuration.ts';

/** Where the kubelet puts them. */
export const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The kubelet replaces the token long before it expires. */
const TOKEN_AGE_MS = 60_000;

/**
 * A pod's own configuration. It needs nothing of client-node, whose models of every kind take 50 MiB of memory: on each node for an
 * agent.
 */
export function inCluster(env: NodeJS.ProcessEnv, folder = SERVICE_ACCOUNT_FOLDER): Configuration {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    server: `https://${name}:${port}`,
    namespace: readFileSync(join(folder, 'namespace'), 'utf8').trim(),
    kubeConfig: new ServiceAccount(folder),
  };
}

class ServiceAccount implements Credentials {
  readonly #folder: string;
  #ca: Buffer;
  #token = '';
  #readAt = -Infinity;

  constructor(folder: string) {
    this.#folder = folder;
    this.#ca = readFileSync(join(folder, 'ca.crt'));
  }

  async applyToHTTPSOptions(options: RequestOptions): Promise<void> {
    if (performance.now() - this.#readAt > TOKEN_AGE_MS) {
      this.#token = readFileSync(join(this.#folder, 'token'), 'utf8').trim();
      this.#ca = readFileSync(join(this.#folder, 'ca.crt'));
      this.#readAt = performance.now();
    }
    options.ca = this.#ca;
    options.headers = {
      ...(options.headers as Record<string, string>),
      Authorization: `Bearer ${this.#token}`,
    };
  }

  getCurrentCluster(): { readonly proxyUrl?: string } {
    return {};
  }
}
