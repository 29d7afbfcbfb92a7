import { createRequire } from 'node:module';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { DatamoverError } from '../errors.ts';
import { inCluster } from './service-account.ts';

/** Where the API server is and who we are; client-node knows all the ways in which a kubeconfig may say so. */
export interface Configuration {
  /** `https://HOST:PORT`, perhaps with a path. */
  readonly server: string;
  /** The namespace of the pod or of the kubeconfig's context; `default` where neither says one. */
  readonly namespace: string;
  readonly kubeConfig: Credentials;
}

/** Who we are, as requests need it. A client-node KubeConfig is one. */
export interface Credentials {
  applyToHTTPSOptions(options: RequestOptions): Promise<void>;
  getCurrentCluster(): { readonly proxyUrl?: string } | null;
}

/**
 * Reads the configuration: the given kubeconfig, else a pod's ServiceAccount, else KUBECONFIG or ~/.kube/config. The token of a
 * ServiceAccount is read again once a minute, for the kubelet replaces it.
 */
export function loadConfiguration(
  options: { readonly kubeconfig?: string; readonly serviceAccountFolder?: string } = {},
): Configuration {
  const { kubeconfig, serviceAccountFolder } = options;
  if (kubeconfig === undefined && process.env['KUBERNETES_SERVICE_HOST'] !== undefined) {
    try {
      return inCluster(process.env, serviceAccountFolder);
    } catch (cause) {
      throw unreadable(undefined, cause);
    }
  }
  const kubeConfig = makeKubeConfig();
  try {
    if (kubeconfig !== undefined) kubeConfig.loadFromFile(kubeconfig);
    else kubeConfig.loadFromDefault();
  } catch (cause) {
    throw unreadable(kubeconfig, cause);
  }
  const cluster = kubeConfig.getCurrentCluster();
  if (cluster === null) throw unreadable(kubeconfig, 'its current context names no cluster');
  const context = kubeConfig.getContextObject(kubeConfig.getCurrentContext());
  return {
    server: cluster.server.replace(/\/+$/, ''),
    namespace: context?.namespace ?? 'default',
    kubeConfig,
  };
}

/** client-node is large, and needed for kubeconfigs alone: it is loaded then. */
function makeKubeConfig(): KubeConfig {
  const require = createRequire(import.meta.url);
  const { KubeConfig: Made } = require('@kubernetes/client-node') as { KubeConfig: new () => KubeConfig };
  return new Made();
}

function unreadable(kubeconfig: string | undefined, cause: unknown): DatamoverError {
  return new DatamoverError({
    operation: 'read',
    subject: kubeconfig ?? 'the configuration of the Kubernetes client',
    cause,
    hint: 'give a kubeconfig, set KUBECONFIG, or run in a pod with a ServiceAccount',
    kind: 'usage',
  });
}
