import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { DatamoverError, describeCause } from '../errors.ts';
import type { ListenAddress } from './address.ts';

export interface Serving {
  readonly address: ListenAddress;
  /** Whether the process still does its work; a reason where not, and the kubelet starts it anew. */
  readonly live: () => Health;
  /** Whether it has what it needs to work; a reason where not. */
  readonly ready: () => Health;
  readonly registry: Registry;
}

/** `undefined`: all is well; else why not, in some words. */
export type Health = string | undefined;

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** A client that sends nothing for so long is none. */
const PATIENCE_MS = 10_000;
/** Probes and one or two scrapers; whoever opens more is not served. */
const MOST_CONNECTIONS = 64;

/** Answers `/livez`, `/readyz` and `/metrics`; nothing else, and nothing but GET and HEAD. Resolves when it listens. */
export async function serve(serving: Serving): Promise<HttpServer> {
  const { host, port } = serving.address;
  const server = createServer(
    { requestTimeout: PATIENCE_MS, headersTimeout: PATIENCE_MS },
    (request, response) => {
      const { method = '', url = '' } = request;
      request.resume();
      if (method !== 'GET' && method !== 'HEAD') {
        answer(response, 405, 'only GET', { Allow: 'GET, HEAD' });
        return;
      }
      void respond(serving, url.split('?', 1)[0] ?? '', response);
    },
  );
  server.maxConnections = MOST_CONNECTIONS;
  await listen(server, host, port);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listen(server: Server, host: string | undefined, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new DatamoverError({
          operation: 'listen on',
          subject: `${host ?? ''}:${port}`,
          cause,
          hint: 'choose another --http-address',
        }),
      ),
    );
    server.listen({ port, ...(host !== undefined && { host }) }, resolve);
  });
  // Broken connections of clients; each is closed by itself.
  server.on('error', () => undefined);
}

async function respond(
  { live, ready, registry }: Serving,
  path: string,
  response: ServerResponse,
): Promise<void> {
  switch (path) {
    case '/livez':
      report(response, live());
      break;
    case '/readyz':
      report(response, ready());
      break;
    case '/metrics':
      try {
        answer(response, 200, await registry.metrics(), { 'Content-Type': registry.contentType });
      } catch (error) {
        answer(response, 500, describeCause(error));
      }
      break;
    default:
      answer(response, 404, 'there are /livez, /readyz and /metrics');
  }
}

function report(response: ServerResponse, health: Health): void {
  if (health === undefined) answer(response, 200, 'ok');
  else answer(response, 503, health);
}

function answer(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    ...headers,
  });
  response.end(text.endsWith('\n') ? text : `${text}\n`);
}
