import { lookup, type LookupAddress, type LookupOptions } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import tls from 'node:tls';

import { cancelled } from '../failure.ts';
import { Slots } from '../slots.ts';
import { LONGEST_REST_MS, Sockets } from './sockets.ts';
import type { Call } from './watch.ts';

export type RequestKind = 'PUT' | 'GET' | 'HEAD' | 'DELETE' | 'LIST' | 'BUCKET';

export interface ConnectionOptions {
  readonly secure: boolean;
  /** PEM certificates of authorities to trust beside the usual ones. */
  readonly ca?: string | undefined;
  /** Uploads and downloads at once. */
  readonly connections: number;
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stallMs: number;
  /** Told of every request that goes out. */
  readonly onRequest?: ((kind: RequestKind) => void) | undefined;
}

/** The kept-alive connections to one server. */
export class Connection {
  readonly secure: boolean;
  /** For downloads, which read from sockets of their own. */
  readonly sockets: Sockets;
  readonly stallMs: number;
  readonly agent: http.Agent;
  readonly #slots: Slots;
  /** To be called for each request that does not go through `request`. */
  readonly count: (kind: RequestKind) => void;

  constructor({ secure, ca, connections, stallMs, onRequest = (): void => undefined }: ConnectionOptions) {
    this.secure = secure;
    this.stallMs = stallMs;
    this.#slots = new Slots(connections);
    this.count = onRequest;
    // The agent applies the timeout to resting connections alone; those in use have their Watch.
    const keeping = {
      keepAlive: true,
      timeout: LONGEST_REST_MS,
      scheduling: 'lifo',
      lookup: lookupHost,
    } as const;
    const trusting = secure ? trust(ca) : undefined;
    this.agent = secure ? new https.Agent({ ...keeping, ...trusting }) : new http.Agent(keeping);
    this.sockets = new Sockets({ lookup: lookupHost }, trusting);
  }

  /** Begins a request; nothing is sent before the first write or the end. */
  request(kind: RequestKind, options: http.RequestOptions): http.ClientRequest {
    this.count(kind);
    return (this.secure ? https : http).request({ ...options, agent: this.agent });
  }

  /** Runs one upload or download when it is its turn; only then does its time against stalling begin. */
  async inTurn<T>(call: Call, work: () => Promise<T>): Promise<T> {
    if (!(await this.#slots.take(call.signal))) throw cancelled(call.operation, call.subject);
    try {
      return await work();
    } finally {
      this.#slots.give();
    }
  }

  close(): void {
    this.agent.destroy();
    this.sockets.close();
  }
}

/** One context for all connections: reading some 150 root certificates anew for each would take milliseconds. */
function trust(ca: string | undefined): { secureContext: tls.SecureContext } {
  // The machine's own authorities too, as restic does: Node alone trusts only the list it was built with.
  const known = new Set([...tls.getCACertificates('default'), ...tls.getCACertificates('system')]);
  return { secureContext: tls.createSecureContext({ ca: [...known, ...(ca === undefined ? [] : [ca])] }) };
}

type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number,
) => void;

/** Names below `localhost` are this machine (RFC 6761, 6.3), which not every resolver knows: a bucket's name may stand there. */
function lookupHost(host: string, options: LookupOptions, callback: LookupCallback): void {
  if (!host.endsWith('.localhost')) lookup(host, options, callback);
  else if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
}
