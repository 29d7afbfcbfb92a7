import { once } from 'node:events';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import type { CephEndpoint } from './ceph.ts';
import type { OpenZfsEndpoint } from './openzfs.ts';
import type { KubernetesEndpoint } from './kubernetes.ts';
import type { S3Endpoint } from './s3-server.ts';

/** The socket of the test run's server keeper (global-setup.ts); child processes of jest inherit it. */
export const KEEPER_VARIABLE = 'DATAMOVER_TEST_KEEPER';

/** What the keeper tells of each server: plain values, for they travel as JSON. */
export interface SharedServers {
  minio: S3Endpoint;
  rgw: S3Endpoint;
  ceph: CephEndpoint;
  openzfs: OpenZfsEndpoint;
  kubernetes: KubernetesEndpoint;
}

export type ServerKind = keyof SharedServers;

export interface KeeperRequest {
  readonly kind: ServerKind;
  readonly tls: boolean;
}

export type KeeperAnswer<K extends ServerKind = ServerKind> =
  { readonly server: SharedServers[K] } | { readonly error: string };

/**
 * The server of this kind that all test files of a jest run share; started at the first call of the run. Undefined outside of
 * jest, where the caller starts its own. `stop` leaves it to the others.
 */
export async function sharedServer<K extends ServerKind>(
  kind: K,
  tls: boolean,
): Promise<(SharedServers[K] & { stop(): Promise<void> }) | undefined> {
  const socketPath = process.env[KEEPER_VARIABLE];
  if (socketPath === undefined) return undefined;
  const socket = createConnection(socketPath);
  await once(socket, 'connect');
  const request: KeeperRequest = { kind, tls };
  socket.write(`${JSON.stringify(request)}\n`);
  const answer = JSON.parse(await text(socket)) as KeeperAnswer<K>;
  if ('error' in answer) throw new Error(answer.error);
  return { ...answer.server, stop: () => Promise.resolve() };
}
