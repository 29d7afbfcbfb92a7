import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describeCause } from '../../datamover/errors.ts';
import { startCeph } from './ceph.ts';
import { startOwnCluster } from './kubernetes.ts';
import { startMinio } from './minio.ts';
import { bootOpenZfs } from './openzfs.ts';
import { startRgw } from './rgw.ts';
import { scratchDirectory } from './scratch.ts';
import type { KeeperAnswer, KeeperRequest, ServerKind, SharedServers } from './shared.ts';

export interface Keeper {
  /** Unix socket on which test files ask for servers: one JSON line each way. */
  readonly socket: string;
  /**
   * The last words of servers that ended though nobody had stopped them, once `stop` has resolved: of OpenZFS' virtual machine, which
   * alone tells. Test files that use it then fail; those after them get another.
   */
  readonly losses: readonly string[];
  stop(): Promise<void>;
}

type Server = SharedServers[ServerKind] & {
  stop(): Promise<void>;
  alive?(): Promise<boolean>;
  lastWords?(): Promise<string>;
};

function startServer({ kind, tls }: KeeperRequest): Promise<Server> {
  switch (kind) {
    case 'minio':
      return startMinio({ tls, own: true });
    case 'rgw':
      return startRgw({ own: true });
    case 'ceph':
      return startCeph({ own: true });
    case 'openzfs':
      return bootOpenZfs();
    case 'kubernetes':
      return startOwnCluster();
  }
}

/** Serves every test file of a run with the same servers, each started when somebody first asks for it. */
export async function startKeeper(): Promise<Keeper> {
  const home = await scratchDirectory('keeper');
  const socket = join(home, 'socket');
  const servers = new Map<string, Promise<Server>>();
  const losses: string[] = [];
  const replaced: Promise<void>[] = [];

  const isThere = async (server: Server): Promise<boolean> => (await server.alive?.()) !== false;
  const takeAway = async (server: Server): Promise<void> => {
    losses.push((await server.lastWords?.()) ?? '');
    // What is left of one that is gone must not end the run.
    await server.stop().catch((error: unknown) => losses.push(describeCause(error)));
  };
  const obtain = async (request: KeeperRequest): Promise<Server> => {
    const key = `${request.kind} ${request.tls}`;
    const begun = servers.get(key) ?? startServer(request);
    servers.set(key, begun);
    const server = await begun;
    if (await isThere(server)) return server;
    // Of several who find it so the first sees to it.
    if (servers.get(key) === begun) {
      servers.delete(key);
      replaced.push(takeAway(server));
    }
    return obtain(request);
  };
  const serve = async (connection: Socket): Promise<void> => {
    const lines = createInterface({ input: connection });
    const [line] = (await once(lines, 'line')) as [string];
    const answer: KeeperAnswer = await obtain(JSON.parse(line) as KeeperRequest).then(
      (server) => ({ server }),
      (error: unknown) => ({ error: describeCause(error) }),
    );
    connection.end(JSON.stringify(answer));
  };
  const listener = createServer((connection) => {
    serve(connection).catch((error: unknown) =>
      connection.destroy(error instanceof Error ? error : undefined),
    );
  });
  listener.listen(socket);
  await once(listener, 'listening');
  return {
    socket,
    losses,
    async stop() {
      listener.close();
      // One that did not start has told whoever asked for it.
      for (const one of await Promise.allSettled(servers.values())) {
        if (one.status === 'rejected') continue;
        await ((await isThere(one.value)) ? one.value.stop() : takeAway(one.value));
      }
      await Promise.all(replaced);
      await rm(home, { recursive: true, force: true });
    },
  };
}
