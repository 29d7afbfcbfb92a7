import { once } from 'node:events';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import type { S3Endpoint, S3Server } from './s3-server.ts';

/** The socket of the test run's server keeper (global-setup.ts); child processes of jest inherit it. */
export const KEEPER_VARIABLE = 'DATAMOVER_TEST_KEEPER';

export type ServerKind = S3Endpoint['kind'];

export interface KeeperRequest {
  readonly kind: ServerKind;
  readonly tls: boolean;
}

export type KeeperAnswer = { readonly server: S3Endpoint } | { readonly error: string };

/**
 * The server of this kind that all test files of a jest run share; started at the first call of the run. Undefined outside of
 * jest, where the caller starts its own.
 */
export async function sharedServer(kind: ServerKind, tls: boolean): Promise<S3Server | undefined> {
  const socketPath = process.env[KEEPER_VARIABLE];
  if (socketPath === undefined) return undefined;
  const socket = createConnection(socketPath);
  await once(socket, 'connect');
  const request: KeeperRequest = { kind, tls };
  socket.write(`${JSON.stringify(request)}\n`);
  const answer = JSON.parse(await text(socket)) as KeeperAnswer;
  if ('error' in answer) throw new Error(answer.error);
  return { ...answer.server, stop: () => Promise.resolve() };
}
