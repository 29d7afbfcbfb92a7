import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REASONS } from '../../../api/names.ts';
import type { Client } from '../../kubernetes/client.ts';
import { CONFIG_MAPS, SECRETS, configMapValues, secretValues } from '../../kubernetes/core-resources.ts';
import { orMissing } from '../../kubernetes/api-error.ts';
import type { RbdConnection } from '../../volumes/rbd/command.ts';
import { TransferFailure } from '../failure.ts';
import type { CephClusterAddress } from './ceph-csi-config.ts';

/** What opens a Ceph cluster: the texts of ceph.conf and of the keyring. Secret. */
export interface CephAccess {
  readonly conf: string;
  readonly keyring: string;
  readonly user: string;
}

export interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

/** Words that a ceph.conf or a keyring can hold without reading them as more. */
const USER = /^[A-Za-z0-9_.][A-Za-z0-9_.:-]{0,254}$/;
const KEY = /^[A-Za-z0-9+/]{16,256}={0,2}$/;

/** The secret that a class's parameters name for this use: `csi.storage.k8s.io/snapshotter-secret-name` and `-namespace`. */
export function secretOfParameters(
  parameters: Readonly<Record<string, string>>,
  use: 'snapshotter' | 'provisioner' | 'node-stage',
): SecretName | undefined {
  const name = parameters[`csi.storage.k8s.io/${use}-secret-name`];
  const namespace = parameters[`csi.storage.k8s.io/${use}-secret-namespace`];
  if (name === undefined || namespace === undefined) return undefined;
  // Templates such as ${pvc.namespace} name a secret of each claim: none of the storage's own.
  return name.includes('$') || namespace.includes('$') ? undefined : { namespace, name };
}

/** Reads ceph-csi's secret (`userID`, `userKey`) and joins it with how the cluster is reached. */
export async function readCephAccess(
  client: Client,
  { namespace, name }: SecretName,
  { monitors }: CephClusterAddress,
): Promise<CephAccess> {
  const refuse = (cause: string): TransferFailure =>
    new TransferFailure({
      ...{ operation: 'read the Ceph user from secret', subject: `${namespace}/${name}`, cause },
      reason: REASONS.secretMissing,
    });
  const secret = await orMissing(client.of(SECRETS).get(namespace, name));
  if (secret === undefined) throw refuse('there is no such secret');
  const values = secretValues(secret);
  const user = values.get('userID')?.toString('utf8').trim() ?? '';
  const key = values.get('userKey')?.toString('utf8').trim() ?? '';
  if (!USER.test(user)) throw refuse('its userID is missing or no name of a Ceph user');
  if (!KEY.test(key)) throw refuse('its userKey is missing or no key');
  return {
    user,
    conf: `[global]\nmon_host = ${monitors.join(',')}\n`,
    keyring: `[client.${user}]\n\tkey = ${key}\n`,
  };
}

/** The text of ceph-csi's `config.json` in the ConfigMap, by ceph-csi's key or by Rook's. */
export async function readCephCsiConfig(client: Client, { namespace, name }: SecretName): Promise<string> {
  const found = await orMissing(client.of(CONFIG_MAPS).get(namespace, name));
  const values = found === undefined ? undefined : configMapValues(found);
  const text = values?.get('config.json') ?? values?.get('csi-cluster-config-json');
  if (text !== undefined) return text;
  throw new TransferFailure({
    operation: 'read the configuration of ceph-csi from ConfigMap',
    subject: `${namespace}/${name}`,
    cause: found === undefined ? 'there is no such ConfigMap' : 'it has no key config.json',
    hint: 'give the controller --ceph-csi-config NAMESPACE/CONFIGMAP of the driver that made the volume',
    reason: REASONS.error,
  });
}

/** Gives the job files that hold the access, readable by this user alone, and removes them after it. */
export async function withCephFiles<T>(
  access: CephAccess,
  job: (connection: RbdConnection) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'datamover-ceph-'));
  try {
    const conf = join(folder, 'ceph.conf');
    const keyring = join(folder, 'keyring');
    await writeFile(conf, access.conf, { mode: 0o600 });
    await writeFile(keyring, access.keyring, { mode: 0o600 });
    return await job({ conf, keyring, user: access.user });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
