import type { ActionContext } from '../actions/contract.ts';
import { sentence } from '../actions/wire/call.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { RESOURCES, type CustomResourceDefinition } from '../kubernetes/resources.ts';

/** Where VolumeSnapshotBackups are defined. */
const DEFINITION = 'volumesnapshotbackups.datamover.oadp.openshift.io';
/** Velero looks for kinds when it starts and then every five minutes (its pkg/cmd/server, initDiscoveryHelper); the rest is for the API server. */
const SEEN_AFTER_MS = 330_000;
/** The API server's times are whole seconds. */
const RESOLUTION_MS = 1_000;

/**
 * Throws while Velero does not know the kind of our records: it would leave them out of its archive without a word, and the backup would
 * end as Completed although no restore finds its data.
 */
export async function refuseUnseenKind(
  client: KubernetesClient,
  subject: string,
  { hostStarted, log }: Pick<ActionContext, 'hostStarted' | 'log'>,
): Promise<void> {
  if (hostStarted === undefined) return;
  let definition: CustomResourceDefinition | undefined;
  try {
    definition = await client.get(RESOURCES.customResourceDefinition, undefined, DEFINITION);
  } catch (error) {
    if (!isApiError(error, 'forbidden')) throw error;
    log.info(`whether Velero knows ${DEFINITION} cannot be told: ${sentence(error)}`);
    return;
  }
  const since = definition === undefined ? undefined : servedSince(definition);
  // Without the kind, making a record fails by itself.
  if (since === undefined) return;
  const seen = seenAt(since, hostStarted);
  if (Date.now() >= seen.getTime()) return;
  throw new Error(
    `${subject}: Velero, which runs since ${second(hostStarted)}, does not know the kind ${DEFINITION} that is there since ${second(since)}, and would leave the record of what was moved out of the backup; start Velero again, or make the backup again after ${second(seen)}`,
  );
}

/** When the API server began to serve a kind. */
export function servedSince({ metadata, status }: CustomResourceDefinition): Date | undefined {
  const established = status?.conditions?.find(
    (condition) => condition.type === 'Established' && condition.status === 'True',
  );
  const text = established?.lastTransitionTime ?? metadata.creationTimestamp;
  const date = new Date(text ?? NaN);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** When a Velero that runs since `hostStarted` has surely seen a kind. */
export function seenAt(servedSince: Date, hostStarted: Date): Date {
  const late = servedSince.getTime() + RESOLUTION_MS > hostStarted.getTime();
  return late ? new Date(servedSince.getTime() + SEEN_AFTER_MS) : hostStarted;
}

function second(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}
