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
  /** Why servers ended that nobody had stopped. Test files that use such a server fail; those after them get another. */
  readonly losses: readonly string[];
  stop(): Promise<void>;
}

type Server = SharedServers[ServerKind] & {
  stop(): Promise<void>;
  /** When it has ended: why, or undefined where it was stopped; of the kinds that tell. */
  lost?(): Promise<string | undefined>;
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
  const ended: Server[] = [];
  const losses: string[] = [];

  const obtain = (request: KeeperRequest): Promise<Server> => {
    const key = `${request.kind} ${request.tls}`;
    const known = servers.get(key);
    if (known !== undefined) return known;
    const begun = startServer(request);
    servers.set(key, begun);
    const replace = async (server: Server): Promise<void> => {
      const why = await server.lost?.();
      if (why === undefined) return;
      losses.push(why);
      ended.push(server);
      servers.delete(key);
    };
    // Of one that does not start whoever asked for it is told.
    begun.then(replace, () => undefined);
    return begun;
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
      const started = await Promise.allSettled(servers.values());
      for (const one of started) if (one.status === 'fulfilled') await one.value.stop();
      for (const server of ended) await server.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}
