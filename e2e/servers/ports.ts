import { createServer, type ListenOptions, type Server } from 'node:net';
import { randomInt } from 'node:crypto';

/**
 * Ports for servers come from below the range in which Linux numbers outgoing connections (32768 and up by default): above it
 * a client's socket may take the port between our look and the server's bind.
 */
const FIRST = 20_000;
const LAST = 32_000;

/** A server that has not bound its ports by then is not looked out for. */
const CLAIMED_MS = 120_000;

/** The first of `count` neighbouring loopback ports that nobody listens on, and that nobody else is given for two minutes. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const base = randomInt(FIRST, LAST - count);
    const ports = Array.from({ length: count }, (_, i) => base + i);
    const claims: Server[] = [];
    for (const port of ports) claims.push(...(await claim(port)));
    const free = claims.length === count && (await Promise.all(ports.map(isFree))).every(Boolean);
    const release = (): void => claims.forEach((server) => void server.close());
    if (free) {
      setTimeout(release, CLAIMED_MS).unref();
      return base;
    }
    release();
  }
  throw new Error(`no ${count} neighbouring free ports between ${FIRST} and ${LAST}`);
}

/**
 * A name that one process of the machine can have at a time, and that goes with it: two that start servers at the same moment both
 * find the same ports free. None where another has it.
 */
async function claim(port: number): Promise<Server[]> {
  const server = await listening({ path: `\0velero-datamover-port-${port}` });
  server?.unref();
  return server === undefined ? [] : [server];
}

async function isFree(port: number): Promise<boolean> {
  const server = await listening({ port, host: '127.0.0.1' });
  if (server === undefined) return false;
  await new Promise((closed) => server.close(closed));
  return true;
}

/** Undefined where somebody else listens there. */
function listening(where: ListenOptions): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(where, () => resolve(server));
  });
}
