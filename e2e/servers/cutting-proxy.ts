import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';
import { freePorts } from './ports.ts';

/** A double of a bad network, which loopback cannot be: a TCP relay that cuts, refuses or swallows at a test's wish. */
export interface CuttingProxy {
  readonly port: number;
  /** Breaks every connection that there is; new ones get through. */
  cut(): void;
  /** Breaks every connection, and each new one at once, until `mend`. */
  refuse(): void;
  /** Keeps every connection and passes nothing on, as a router does that has lost its tables, until `mend`. */
  swallow(): void;
  /** Passes on again; what was swallowed is lost with its connections, which are broken. */
  mend(): void;
  stop(): Promise<void>;
}

export async function startCuttingProxy(targetPort: number): Promise<CuttingProxy> {
  let mode: 'pass' | 'refuse' | 'swallow' = 'pass';
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // A broken end breaks the other one, below.
    socket.on('error', () => undefined);
  };
  const relay = (from: Socket, to: Socket): void => {
    from.on('data', (chunk: Buffer) => {
      if (mode === 'pass') to.write(chunk);
    });
    from.once('close', () => to.destroy());
  };
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const server = createServer((near) => {
    keep(near);
    if (mode === 'refuse') {
      near.resetAndDestroy();
      return;
    }
    const far = createConnection(targetPort, '127.0.0.1');
    keep(far);
    relay(near, far);
    relay(far, near);
  });
  server.listen(await freePorts(1), '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    refuse() {
      mode = 'refuse';
      cut();
    },
    swallow() {
      mode = 'swallow';
    },
    mend() {
      mode = 'pass';
      cut();
    },
    async stop() {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
}
