import type { OadpDataMover, OadpVolumeOptions } from '../../api/neighbours/oadp.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES, type ConfigMap } from '../kubernetes/resources.ts';
import { parseDuration } from './duration.ts';

/** Which actions Velero is told of: version 2, or those that wait, for servers that know no other. */
export type ActionSet = 'v1' | 'v2';

/** What the cluster's administrator wants of this plugin. */
export interface Settings {
  /** Whether snapshots are moved and volumes restored from moved ones; without it no item of Velero's is touched. */
  readonly enabled: boolean;
  /** The BackupTarget of claims whose DataMoverClass names none. */
  readonly backupTarget?: string;
  /** Instead of `<backup storage location>-volsync-restic`. */
  readonly resticSecret?: string;
  /** How long actions of version 1 wait for a transfer. */
  readonly timeoutMs: number;
  readonly actionSet: ActionSet;
  /** What claims become when they are restored, by the storage class that they had. */
  readonly destinations: Readonly<Record<string, OadpVolumeOptions>>;
}

/** Velero's convention for ConfigMaps that configure plugins; beside it stands `datamover.io/ACTION: KIND`. */
export const PLUGIN_CONFIG_LABEL = 'velero.io/plugin-config';
const OUR_LABEL = 'datamover.io/';
const KINDS = /^(Backup|Restore)ItemAction(V2)?$|^DeleteItemAction$/;

const KEYS = ['enabled', 'backupTarget', 'resticSecret', 'timeout', 'actions'];
/** As long as Velero lets an operation of version 2 take. */
const TIMEOUT_MS = 4 * 3_600_000;

/** Reads a ConfigMap of ours and OADP's DataProtectionApplication in Velero's namespace; what the ConfigMap says goes first. */
export async function readSettings(client: KubernetesClient, namespace: string): Promise<Settings> {
  const [config, mover] = await Promise.all([
    pluginConfig(client, namespace),
    oadpDataMover(client, namespace),
  ]);
  return combine(config, mover);
}

async function pluginConfig(client: KubernetesClient, namespace: string): Promise<ConfigMap | undefined> {
  const labelled = (await client.list(RESOURCES.configMap, namespace, PLUGIN_CONFIG_LABEL)) ?? [];
  const ours = labelled.filter(({ metadata }) =>
    Object.entries(metadata.labels ?? {}).some(
      ([key, value]) => key.startsWith(OUR_LABEL) && KINDS.test(value),
    ),
  );
  if (ours.length > 1) {
    const names = ours.map(({ metadata }) => metadata.name ?? '').sort();
    throw new Error(
      `read the plugin's settings: the ConfigMaps ${names.join(' and ')} in ${namespace} are both for this plugin; keep one`,
    );
  }
  return ours[0];
}

/** Neither its kind nor the right to read it need be there. */
async function oadpDataMover(
  client: KubernetesClient,
  namespace: string,
): Promise<OadpDataMover | undefined> {
  try {
    const found = (await client.list(RESOURCES.dataProtectionApplication, namespace)) ?? [];
    const movers = found.flatMap(({ spec }) => spec.features?.dataMover ?? []);
    return movers.find(({ enable }) => enable === true) ?? movers[0];
  } catch (error) {
    if (isApiError(error, 'forbidden')) return undefined;
    throw error;
  }
}

export function combine(config: ConfigMap | undefined, mover: OadpDataMover | undefined): Settings {
  const data = config?.data ?? {};
  const subject = `the plugin's ConfigMap ${config?.metadata.name ?? ''}`;
  for (const key of Object.keys(data)) {
    if (!KEYS.includes(key))
      throw new Error(`read ${subject}: ${JSON.stringify(key)} is none of its keys (${KEYS.join(', ')})`);
  }
  const choice = <T extends string>(key: string, allowed: readonly T[]): T | undefined => {
    const value = data[key];
    if (value === undefined) return undefined;
    const found = allowed.find((one) => one === value);
    if (found === undefined)
      throw new Error(`read ${subject}: ${key} is ${JSON.stringify(value)}, not ${allowed.join(' or ')}`);
    return found;
  };
  const enabled = choice('enabled', ['true', 'false']);
  const actions = choice<ActionSet>('actions', ['v1', 'v2']);
  if (data['backupTarget'] !== undefined && data['resticSecret'] !== undefined)
    throw new Error(`read ${subject}: it names both backupTarget and resticSecret; keep one`);
  return {
    enabled: config === undefined ? mover?.enable === true : enabled !== 'false',
    ...(data['backupTarget'] === undefined ? {} : { backupTarget: data['backupTarget'] }),
    ...(data['resticSecret'] === undefined ? {} : { resticSecret: data['resticSecret'] }),
    timeoutMs:
      duration(data['timeout'], subject) ??
      duration(mover?.timeout, 'the DataProtectionApplication') ??
      TIMEOUT_MS,
    actionSet: actions ?? 'v2',
    destinations: destinations(mover),
  };
}

function duration(text: string | undefined, subject: string): number | undefined {
  if (text === undefined || text === '') return undefined;
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined)
    throw new Error(`read ${subject}: timeout is ${JSON.stringify(text)}, no duration such as 1h30m`);
  return milliseconds;
}

function destinations(mover: OadpDataMover | undefined): Settings['destinations'] {
  const options = Object.entries(mover?.volumeOptionsForStorageClasses ?? {});
  return Object.fromEntries(
    options.flatMap(([storageClass, { destinationVolumeOptions }]) =>
      destinationVolumeOptions === undefined ? [] : [[storageClass, destinationVolumeOptions]],
    ),
  );
}
