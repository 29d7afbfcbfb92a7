import { LEASES } from '../../api/names.ts';
import type { Client } from '../kubernetes/client.ts';
import { LeaseClaim, processIdentity } from '../kubernetes/lease.ts';
import type { AgentOptions } from './options.ts';
import { labelsOf, readTransfer, transferID, viewOf, type Transfer } from './transfer.ts';

/** The heartbeat of one transfer, which whoever carries it holds. */
export function transferLease(
  client: Client,
  options: Pick<AgentOptions, 'namespace' | 'leaseSeconds'>,
  transfer: Transfer,
): LeaseClaim {
  return new LeaseClaim({
    ...{ client, namespace: options.namespace, name: LEASES.transfer(transferID(transfer)) },
    ...{ identity: processIdentity(), durationSeconds: options.leaseSeconds },
    metadata: { labels: labelsOf(transfer) },
    stillWanted: (signal) => mayGoOn(client, transfer, signal),
  });
}

/** Whether anybody may carry it yet: where it is to end, or has, the controller deletes its lease for good (K-30, K-31). */
async function mayGoOn(client: Client, transfer: Transfer, signal?: AbortSignal): Promise<boolean> {
  const { operation, object } = transfer;
  const { namespace = '', name, uid } = object.metadata;
  const now = await readTransfer(client, { operation, namespace, name }, signal);
  if (now?.object.metadata.uid !== uid) return false;
  const { final, cancelled } = viewOf(now);
  return !final && !cancelled;
}
