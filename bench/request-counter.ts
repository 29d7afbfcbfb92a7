import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What passed by, by kind of request: `PUT data`, `GET index`, `LIST`. */
export interface Counts {
  readonly requests: ReadonlyMap<string, number>;
  /** Bytes of each pack that was written. */
  readonly packs: readonly number[];
  /** How many packs were on their way at once, at most. */
  readonly uploadsAtOnce: number;
}

/** A proxy in front of a plain HTTP S3 server. It changes nothing, not even the Host header, which is signed. */
export interface RequestCounter {
  readonly endpoint: string;
  /** What was counted since the last call. */
  take(): Counts;
  stop(): Promise<void>;
}

export async function countRequests(target: string): Promise<RequestCounter> {
  const upstream = new URL(target);
  let tally = new Tally();
  const server = createServer((incoming, response) => {
    tally.begin(incoming);
    const done = tally.end.bind(tally, incoming);
    response.once('close', done);
    forward(upstream, incoming, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    take() {
      const counts = tally;
      tally = new Tally();
      return counts;
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function forward(upstream: URL, incoming: IncomingMessage, response: ServerResponse): void {
  const { method, url: path, headers } = incoming;
  const outgoing = request(
    { host: upstream.hostname, port: upstream.port, method, path, headers },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response);
    },
  );
  outgoing.on('error', (error) => response.destroy(error));
  incoming.pipe(outgoing);
}

class Tally implements Counts {
  readonly requests = new Map<string, number>();
  readonly packs: number[] = [];
  uploadsAtOnce = 0;
  #uploads = 0;

  begin(incoming: IncomingMessage): void {
    const kind = kindOf(incoming);
    this.requests.set(kind, (this.requests.get(kind) ?? 0) + 1);
    if (kind !== 'PUT data') return;
    const { headers } = incoming;
    // A body signed in pieces is longer than what it carries.
    this.packs.push(Number(headers['x-amz-decoded-content-length'] ?? headers['content-length'] ?? 0));
    this.#uploads += 1;
    this.uploadsAtOnce = Math.max(this.uploadsAtOnce, this.#uploads);
  }

  end(incoming: IncomingMessage): void {
    if (kindOf(incoming) === 'PUT data') this.#uploads -= 1;
  }
}

/** The method, LIST where it is one, and the folder of the repository that it is about. */
function kindOf({ method = '', url = '' }: IncomingMessage): string {
  const { pathname, searchParams } = new URL(url, 'http://server');
  const [, , folder = ''] = pathname.split('/');
  if (folder !== '') return `${method} ${folder}`;
  if (searchParams.has('location')) return 'bucket location';
  if (method === 'GET') return 'LIST';
  return `${method} bucket`;
}
