import { AGENT_LEASE, LEASES } from '../../api/names.ts';
import { labelValue } from '../../api/derived-names.ts';
import { pause } from '../kubernetes/backoff.ts';
import type { Client } from '../kubernetes/client.ts';
import { LeaseClaim, processIdentity } from '../kubernetes/lease.ts';
import { beginHeartbeat } from './heartbeat.ts';
import type { AgentOptions } from './options.ts';

/**
 * Holds the lease that tells the controller of this node's agent and its drivers (K-17) until the signal fires; then gives it away.
 * While a predecessor's lease has not run out it waits for that.
 */
export async function keepPresence(
  client: Client,
  options: Pick<AgentOptions, 'namespace' | 'node' | 'drivers' | 'leaseSeconds'>,
  onFailure: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, node, drivers, leaseSeconds } = options;
  const claim = new LeaseClaim({
    ...{ client, namespace, name: LEASES.agent(node), identity: processIdentity() },
    durationSeconds: leaseSeconds,
    metadata: {
      labels: { [AGENT_LEASE.label]: labelValue(node) },
      annotations: { [AGENT_LEASE.node]: node, [AGENT_LEASE.drivers]: drivers.join(',') },
    },
  });
  while (!signal.aborted) {
    try {
      const heartbeat = await beginHeartbeat(claim, onFailure);
      if (heartbeat !== undefined) {
        await aborted(AbortSignal.any([signal, heartbeat.lost]));
        await heartbeat.release();
      }
    } catch (error) {
      onFailure(error);
    }
    await pause((leaseSeconds * 1000) / 6, signal);
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
