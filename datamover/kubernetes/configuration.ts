import { KubeConfig } from '@kubernetes/client-node';
import { DatamoverError } from '../errors.ts';

/** Where the API server is and who we are; client-node knows all the ways in which a kubeconfig may say so. */
export interface Configuration {
  /** `https://HOST:PORT`, perhaps with a path. */
  readonly server: string;
  /** The namespace of the pod or of the kubeconfig's context; `default` where neither says one. */
  readonly namespace: string;
  readonly kubeConfig: KubeConfig;
}

/**
 * Reads the configuration: the given kubeconfig, else a pod's ServiceAccount, else KUBECONFIG or ~/.kube/config. The token of a
 * ServiceAccount is read again once a minute, for the kubelet replaces it.
 */
export function loadConfiguration(options: { readonly kubeconfig?: string } = {}): Configuration {
  const kubeConfig = new KubeConfig();
  try {
    if (options.kubeconfig !== undefined) kubeConfig.loadFromFile(options.kubeconfig);
    else if (process.env['KUBERNETES_SERVICE_HOST'] !== undefined) kubeConfig.loadFromCluster();
    else kubeConfig.loadFromDefault();
  } catch (cause) {
    throw unreadable(options.kubeconfig, cause);
  }
  const cluster = kubeConfig.getCurrentCluster();
  if (cluster === null) throw unreadable(options.kubeconfig, 'its current context names no cluster');
  const context = kubeConfig.getContextObject(kubeConfig.getCurrentContext());
  return {
    server: cluster.server.replace(/\/+$/, ''),
    namespace: context?.namespace ?? 'default',
    kubeConfig,
  };
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
