import type { ActionContext } from '../actions/contract.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { openCluster } from '../kubernetes/open.ts';
import { readSettings, type Settings } from './settings.ts';

export interface Site {
  readonly client: KubernetesClient;
  readonly settings: Settings;
}

/** A backup asks about hundreds of items within seconds. */
const SETTINGS_LAST_MS = 5_000;
const SETTINGS_LIMIT_MS = 120_000;

let known: { readonly key: string; readonly until: number; readonly settings: Promise<Settings> } | undefined;

/** The cluster, and what its administrator wants. */
export async function openSite(context: ActionContext): Promise<Site> {
  const client = await openCluster(context);
  const key = `${context.kubeconfig ?? ''} ${context.veleroNamespace}`;
  if (known?.key !== key || known.until < Date.now()) {
    // Other calls wait for it too: not only the one that asked first may end it.
    const unhurried = client.until(AbortSignal.timeout(SETTINGS_LIMIT_MS));
    const settings = readSettings(unhurried, context.veleroNamespace);
    known = { key, until: Date.now() + SETTINGS_LAST_MS, settings };
    settings.catch(() => (known = undefined));
  }
  return { client, settings: await known.settings };
}
