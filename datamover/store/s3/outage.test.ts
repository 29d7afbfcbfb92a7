import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';

import { expect, test } from '@jest/globals';

import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../../e2e/servers/minio.ts';
import { openStore } from '../location.ts';
import { collect, saved } from '../store.suite.ts';

/** A way to a server that can be cut. */
class Way {
  readonly #server: URL;
  readonly #sockets = new Set<net.Socket>();
  #listener = net.createServer();
  port = 0;
  /** A connection ends each time that so many bytes have gone this way, whoever's. */
  bytesToCut = Infinity;
  cuts = 0;
  #bytes = 0;

  constructor(server: string) {
    this.#server = new URL(server);
  }

  async open(): Promise<void> {
    this.#listener = net.createServer((client) => this.#join(client));
    this.#listener.listen(this.port, '127.0.0.1');
    await once(this.#listener, 'listening');
    this.port = (this.#listener.address() as AddressInfo).port;
  }

  /** Breaks all connections and refuses new ones. */
  async close(): Promise<void> {
    const closed = once(this.#listener, 'close');
    this.#listener.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  #join(client: net.Socket): void {
    const server = net.connect(Number(this.#server.port), this.#server.hostname);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on('data', (chunk: Buffer) => {
        this.#bytes += chunk.length;
        if (this.#bytes >= this.bytesToCut) {
          this.#bytes = 0;
          this.cuts++;
          client.resetAndDestroy();
        } else if (!to.write(chunk)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
      });
    }
  }
}

describePeer('minio', 'A bad way to S3', () => {
  test.each([false, true])(
    'cut connections and an outage cost time and nothing else (TLS: %s)',
    async (tls) => {
      const server = await startMinio({ tls });
      const way = new Way(server.endpoint);
      await way.open();
      const place = `s3:${tls ? 'https' : 'http'}://127.0.0.1:${way.port}/outage-${way.port}`;
      const env = {
        AWS_ACCESS_KEY_ID: server.accessKey,
        AWS_SECRET_ACCESS_KEY: server.secretKey,
        AWS_REGION: server.region,
        RESTIC_CACERT: server.caFile,
      };
      let repeated = 0;
      const store = await openStore(place, env, {
        retry: { baseMs: 10, maxMs: 100, deadlineMs: 20_000, onRetry: () => repeated++ },
      });
      await store.create();

      way.bytesToCut = 12e6;
      await way.close();
      await way.open();
      const files = await Promise.all(
        Array.from({ length: 12 }, (_, i) => saved(store, 'data', i * 700_000)),
      );
      const outage = (async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        await way.close();
        await new Promise((resolve) => setTimeout(resolve, 400));
        await way.open();
      })();
      const loaded = await Promise.all(
        files.map(async ({ handle, content }) => {
          const into = new Uint8Array(new SharedArrayBuffer(content.length));
          return Buffer.from(await store.load(handle, { into })).equals(content);
        }),
      );
      await outage;
      expect(loaded).toEqual(files.map(() => true));
      expect(await collect(store.list(['data']))).toHaveLength(12);
      expect(way.cuts).toBeGreaterThan(0);
      expect(repeated).toBeGreaterThan(0);
      await store.close();
      await way.close();
    },
  );
});
