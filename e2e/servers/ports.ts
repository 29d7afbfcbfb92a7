import { createServer } from 'node:net';
import { randomInt } from 'node:crypto';

/**
 * Ports for servers come from below the range in which Linux numbers outgoing connections (32768 and up by default): above it
 * a client's socket may take the port between our look and the server's bind.
 */
const FIRST = 20_000;
const LAST = 32_000;

/** The first of `count` neighbouring loopback ports that nobody listens on. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const base = randomInt(FIRST, LAST - count);
    const ports = Array.from({ length: count }, (_, i) => base + i);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return base;
  }
  throw new Error(`no ${count} neighbouring free ports between ${FIRST} and ${LAST}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
