import { orMissing } from '../../kubernetes/api-error.ts';
import type { Client } from '../../kubernetes/client.ts';
import type { Stored } from '../../kubernetes/object.ts';
import { CLAIMS, type PersistentVolumeClaim } from '../../kubernetes/storage-resources.ts';

/**
 * The claim, if it is there and has no volume yet: when the restore that it waits for comes to nothing it stays Pending, and whoever looks
 * at it should read why.
 */
export async function waitingClaim(
  client: Client,
  namespace: string | undefined,
  name: string | undefined,
): Promise<Stored<PersistentVolumeClaim> | undefined> {
  if (name === undefined) return undefined;
  const claim = await orMissing(client.of(CLAIMS).get(namespace, name));
  return (claim?.spec.volumeName ?? '') === '' ? claim : undefined;
}
