import { existsSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isGone } from '../../datamover/process/owner.ts';
import type { CephEndpoint } from '../servers/ceph.ts';
import type { KubernetesEndpoint } from '../servers/kubernetes.ts';
import type { OpenZfsEndpoint } from '../servers/openzfs.ts';
import type { S3Endpoint } from '../servers/s3-server.ts';

/** How the parts of a cluster that is up are reached. Plain values; the passwords among them open nothing else. */
export interface ClusterAccess {
  readonly kubernetes: KubernetesEndpoint;
  /** Its pool is that of the claims. */
  readonly ceph: CephEndpoint;
  readonly storageClass: string;
  /** OpenZFS in its virtual machine, where it was asked for. `environment` puts its commands on the PATH. */
  readonly zfs?: {
    readonly environment: OpenZfsEndpoint['environment'];
    readonly pool: string;
    readonly storageClasses: readonly string[];
  };
  readonly s3: Pick<S3Endpoint, 'endpoint' | 'accessKey' | 'secretKey' | 'region'>;
  readonly bucket: string;
  readonly veleroNamespace: string;
  /** Of the restic repositories. */
  readonly password: string;
}

export interface ClusterState {
  /** Of the process that holds all servers: `ownerName()`, which no other process ever has. */
  readonly owner: string;
  readonly pid: number;
  readonly since: number;
  /** Once everything is up. */
  readonly access?: ClusterAccess;
}

/** Where `make cluster-up` keeps what it must know: outside of checkouts, one cluster for each user of the machine. */
export function stateDirectory(): string {
  return join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state'), 'velero-datamover/cluster');
}

/** `make cluster-up ZFS=1`: OpenEBS ZFS beside Ceph. Its virtual machine takes a GiB and some time. */
export const wantsZfs = (): boolean => (process.env['ZFS'] ?? '') !== '';

const stateFile = (): string => join(stateDirectory(), 'state.json');
/** Sourced by shells; there as long as everything is up. */
export const environmentFile = (): string => join(stateDirectory(), 'env');
export const logFile = (): string => join(stateDirectory(), 'log');

/** The cluster that is up or on its way there, if there is one. */
export function runningCluster(): ClusterState | undefined {
  if (!existsSync(stateFile())) return undefined;
  const state = JSON.parse(readFileSync(stateFile(), 'utf8')) as ClusterState;
  return isGone(state.owner, state.since, 'one machine') ? undefined : state;
}

/** Whole or not at all: others read it meanwhile. */
export async function writeState(state: ClusterState): Promise<void> {
  const draft = `${stateFile()}.${process.pid}`;
  await writeFile(draft, JSON.stringify(state), { mode: 0o600 });
  await rename(draft, stateFile());
}

export async function forgetState(): Promise<void> {
  for (const file of [environmentFile(), stateFile()]) await rm(file, { force: true });
}
