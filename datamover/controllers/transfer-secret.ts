import { labelValue } from '../../api/derived-names.ts';
import { LABELS, transferSecretName } from '../../api/names.ts';
import type { Client } from '../kubernetes/client.ts';
import { SECRETS } from '../kubernetes/core-resources.ts';
import type { RepositoryAccess } from './repository/access.ts';
import type { CephAccess } from './resolve/ceph-secret.ts';
import { isBackup, transferIdOfObject, type TransferObject } from './transfer-object.ts';

/** Labels of what is made for a transfer. */
export function transferLabels(object: TransferObject): Readonly<Record<string, string>> {
  return {
    [LABELS.transfer]: transferIdOfObject(object),
    [isBackup(object) ? LABELS.backup : LABELS.restore]: labelValue(object.metadata.name),
  };
}

/** Writes the one secret with which the child of a transfer opens its repository and its storage (docs/kubernetes.md). */
export async function writeTransferSecret(
  client: Client,
  namespace: string,
  object: TransferObject,
  access: RepositoryAccess,
  ceph: CephAccess | undefined,
  host: string,
): Promise<void> {
  const values: Readonly<Record<string, string | undefined>> = {
    ...{ RESTIC_REPOSITORY: access.repository, RESTIC_PASSWORD: access.password, RESTIC_HOST: host },
    ...{ AWS_ACCESS_KEY_ID: access.accessKeyId, AWS_SECRET_ACCESS_KEY: access.secretAccessKey },
    ...{ AWS_SESSION_TOKEN: access.sessionToken, AWS_DEFAULT_REGION: access.region, 'ca.crt': access.ca },
    ...{ 'limit.upload': access.uploadLimit?.toString(), 'limit.download': access.downloadLimit?.toString() },
    ...{ 'ceph.conf': ceph?.conf, 'ceph.keyring': ceph?.keyring, 'ceph.user': ceph?.user },
  };
  const data = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, Buffer.from(value, 'utf8').toString('base64')] as const],
  );
  await client.of(SECRETS).apply({
    metadata: {
      ...{ namespace, name: transferSecretName(transferIdOfObject(object)) },
      labels: transferLabels(object),
    },
    ...{ type: 'Opaque', data: Object.fromEntries(data) },
  });
}
