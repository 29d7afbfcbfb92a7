import { once } from 'node:events';
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { S3Endpoint } from '../servers/s3-server.ts';

export interface CountedRequest {
  readonly method: string;
  /** Below the bucket, without its leading slash: `scope/data/ab/ab…`. */
  readonly key: string;
  readonly isList: boolean;
  /** Of the body that was sent, and of the one that came back. */
  sent: number;
  received: number;
}

/**
 * Stands between a program and a real S3 server and counts what passes. It changes nothing: the signature covers the Host header,
 * which is handed on as it came, so the server sees its client's own requests.
 */
export class CountingProxy {
  readonly endpoint: S3Endpoint;
  readonly #requests: CountedRequest[];
  readonly #close: () => Promise<void>;

  private constructor(endpoint: S3Endpoint, requests: CountedRequest[], close: () => Promise<void>) {
    this.endpoint = endpoint;
    this.#requests = requests;
    this.#close = close;
  }

  /** For servers without TLS. */
  static async before(server: S3Endpoint): Promise<CountingProxy> {
    const target = new URL(server.endpoint);
    const requests: CountedRequest[] = [];
    const listener = createServer((incoming, outgoing) => relay(incoming, outgoing, target, requests));
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    return new CountingProxy({ ...server, endpoint: `http://127.0.0.1:${port}` }, requests, async () => {
      listener.closeAllConnections();
      listener.close();
      await once(listener, 'close');
    });
  }

  /** What has passed since the last call. */
  take(): CountedRequest[] {
    return this.#requests.splice(0);
  }

  async close(): Promise<void> {
    await this.#close();
  }
}

function relay(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  target: URL,
  seen: CountedRequest[],
): void {
  const url = new URL(incoming.url ?? '/', target);
  const [, , ...names] = url.pathname.split('/');
  const counted: CountedRequest = {
    method: incoming.method ?? '',
    key: names.join('/'),
    isList: url.searchParams.has('list-type') || url.searchParams.has('prefix'),
    sent: 0,
    received: 0,
  };
  seen.push(counted);
  const onward = forward(
    {
      host: target.hostname,
      port: target.port,
      path: incoming.url,
      method: incoming.method,
      headers: incoming.headers,
      agent: false,
    },
    (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('data', (chunk: Buffer) => (counted.received += chunk.length));
      answer.pipe(outgoing);
    },
  );
  // A client that was killed, or a server that went away: the other side sees the connection end.
  onward.on('error', () => outgoing.destroy());
  outgoing.on('close', () => onward.destroy());
  incoming.on('data', (chunk: Buffer) => (counted.sent += chunk.length));
  incoming.pipe(onward);
}
