import { LEASES as LEASE_NAMES } from '../../api/names.ts';
import { describeCause } from '../errors.ts';
import type { ListenAddress } from '../http/address.ts';
import { makeRegistry, registerClusterMetrics, type ClusterState } from '../http/metrics.ts';
import { serve, type Health } from '../http/server.ts';
import type { Client } from '../kubernetes/client.ts';
import { runWhenLeader } from '../kubernetes/leader-election.ts';
import { whyBlind, whyDead, type VitalParts } from '../kubernetes/vitality.ts';
import { processIdentity } from '../kubernetes/lease.ts';
import { programVersion } from '../version.ts';
import { clusterState } from './cluster-state.ts';
import { runController } from './controller.ts';
import type { Log } from './log.ts';
import type { RepositorySizes } from './repository/sizes.ts';
import type { ControllerSettings } from './settings.ts';
import type { TransferCache } from './transfer-cache.ts';

export interface ElectedOptions {
  readonly client: Client;
  readonly settings: ControllerSettings;
  readonly log: Log;
  readonly httpAddress: ListenAddress;
  readonly leaderElect: boolean;
  /** The pod's name. */
  readonly instance: string;
  readonly signal: AbortSignal;
}

/** A leader that does not renew for this long is none any more. */
const LEASE_SECONDS = 15;
const NOTHING: ClusterState = { queue: [], ended: [], lastSuccess: [], repositories: [] };

/** The controller as a process: health and metrics at once, the loops while this one leads. Returns when the signal has fired. */
export async function runElected(options: ElectedOptions): Promise<void> {
  const { client, settings, log, instance, signal } = options;
  /** What metrics are made of, while this one leads. */
  let known: { readonly transfers: TransferCache; readonly sizes: RepositorySizes } | undefined;
  let ready: Health;
  /** Of the loops, while this one leads. */
  let vital: VitalParts | undefined;
  const registry = makeRegistry('controller', programVersion());
  registerClusterMetrics(registry, () =>
    known === undefined ? NOTHING : clusterState(known.transfers.list(), known.sizes.list()),
  );
  const server = await serve({
    ...{ address: options.httpAddress, registry },
    live: () => vital && whyDead(vital),
    // Who stands by is ready to take over.
    ready: () => ready ?? (vital && whyBlind(vital)),
  });
  const lead = async (leading: Client, stop: AbortSignal): Promise<void> => {
    log.info({ instance }, 'this controller leads');
    ready = 'its caches are not filled yet';
    try {
      await runController({
        ...{ client: leading, settings, log, instance, signal: stop },
        onStart: (parts) => {
          vital = parts;
        },
        onReady: (transfers, sizes) => {
          known = { transfers, sizes };
          ready = undefined;
        },
      });
    } finally {
      known = undefined;
      vital = undefined;
      ready = undefined;
      log.info({ instance }, 'this controller leads no more');
    }
  };
  try {
    if (!options.leaderElect) return await lead(client, signal);
    await runWhenLeader(
      {
        ...{ client, namespace: settings.namespace, name: LEASE_NAMES.controller },
        ...{ identity: processIdentity(), durationSeconds: LEASE_SECONDS, signal },
        onFailure: (error) => log.warn({}, describeCause(error)),
      },
      (leadership) => lead(leadership.client, leadership.signal),
    );
  } finally {
    await server.close();
  }
}
