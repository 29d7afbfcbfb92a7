import type { ActionContext } from '../actions/contract.ts';
import { KubernetesClient } from './client.ts';
import { loadConfiguration } from './configuration.ts';

/** By kubeconfig: the calls of one process share connections. */
const opened = new Map<string, Promise<KubernetesClient>>();

/** The client for one call of Velero's. */
export async function openCluster({
  kubeconfig,
  signal,
}: Pick<ActionContext, 'kubeconfig' | 'signal'>): Promise<KubernetesClient> {
  const key = kubeconfig ?? '';
  let client = opened.get(key);
  if (client === undefined) {
    client = loadConfiguration(kubeconfig).then((configuration) => new KubernetesClient(configuration));
    opened.set(key, client);
    // What could not be read may be there at the next call.
    client.catch(() => opened.delete(key));
  }
  return (await client).until(signal);
}
