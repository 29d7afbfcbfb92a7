import type { DriverName } from '../volumes/driver.ts';
import type { ListenAddress } from '../http/address.ts';

/** The settings of an agent; docs/kubernetes.md has the flags. */
export interface AgentOptions {
  /** The mover's own: leases, the transfers' secrets. */
  readonly namespace: string;
  readonly node: string;
  /** The pod's name: what it claims as. */
  readonly pod: string;
  readonly drivers: readonly DriverName[];
  readonly maxTransfers: number;
  readonly childMemoryBytes: number;
  readonly progressIntervalMs: number;
  /** A folder for files of transfers: keyrings, sockets. */
  readonly scratch: string;
  /** Where a transfer's secret has no `ceph.conf`. */
  readonly cephConf?: string;
  /** How long children may go on after SIGTERM. */
  readonly gracePeriodMs: number;
  /** Of the transfers' leases and of the agent's own; renewed in a sixth of it. */
  readonly leaseSeconds: number;
  readonly httpAddress: ListenAddress;
  /** The script that carries a transfer; the `datamover` command without it. For doubles in tests. */
  readonly command?: string;
}

export const LEASE_SECONDS = 30;
