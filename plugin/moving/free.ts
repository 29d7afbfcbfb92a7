import { snapshotDeleteRequestName } from '../../api/derived-names.ts';
import type { SnapshotDeleteRequestSpec } from '../../api/snapshot-delete-request.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES } from '../kubernetes/resources.ts';

/** Which snapshot of which repository is to go, and with what the repository is opened. */
export type Freed = SnapshotDeleteRequestSpec;

/**
 * Leaves the wish that one backup's data be freed: a durable object, for the bucket may be down and Velero asks but once. A wish
 * that is there already is the same wish.
 */
export async function requestDeletion(
  client: KubernetesClient,
  namespace: string,
  freed: Freed,
): Promise<string> {
  const name = snapshotDeleteRequestName(freed);
  try {
    await client.create(RESOURCES.snapshotDeleteRequest, { metadata: { namespace, name }, spec: freed });
  } catch (error) {
    if (!isApiError(error, 'missing')) throw error;
    throw new Error(
      `${error.message}; the snapshot ${freed.snapshotID} stays in ${freed.resticrepository} until the data mover's kinds are installed and the backup is deleted again`,
      { cause: error },
    );
  }
  return `${namespace}/${name}`;
}
