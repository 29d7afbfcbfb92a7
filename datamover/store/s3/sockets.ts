import net from 'node:net';
import tls from 'node:tls';

/** Room for the head of an answer and the body of an error. */
const SCRATCH = 64 * 1024;

/** What a socket does with the bytes that come. An answer begins in the socket's scratch memory. */
export interface Reader {
  /** The memory for the next bytes; undefined for the scratch memory. */
  memory(): Uint8Array | undefined;
  /** So many bytes have come into it. False stops reading until `KeptSocket.resume`. */
  received(bytes: number): boolean;
  /** The connection is over. */
  ended(error: unknown): void;
}

const CLOSED = Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' });

/** A connection that hands the kernel's bytes to a reader's memory, with no stream and no copy in between. */
export class KeptSocket {
  /** Whether it has carried a request before. */
  used = false;
  /**
   * The kernel is told where the next bytes shall go when the last ones have come, long before the next request is known. So
   * between requests that must be memory of the socket's own.
   */
  readonly scratch = Buffer.allocUnsafeSlow(SCRATCH);
  readonly #socket: net.Socket;
  #reader: Reader | undefined;

  constructor(connect: (onread: net.OnReadOpts) => net.Socket, onClose: () => void) {
    let error: unknown = CLOSED;
    this.#socket = connect({
      buffer: () => this.#reader?.memory() ?? this.scratch,
      callback: (bytes) => this.#received(bytes),
    });
    this.#socket.on('error', (thrown) => {
      error = thrown;
    });
    // A server that ends the connection does so between answers or in trouble: either way nothing more comes.
    this.#socket.on('end', () => this.destroy());
    this.#socket.on('close', () => {
      onClose();
      this.#reader?.ended(error);
      this.#reader = undefined;
    });
  }

  /** Sends a request whose answer goes to `reader`. */
  request(head: string, reader: Reader): void {
    this.#socket.ref();
    this.#reader = reader;
    this.#socket.write(head, 'latin1');
  }

  /** The answer is complete; the connection does not keep the process alive until the next request. */
  rest(): void {
    this.#reader = undefined;
    this.used = true;
    this.#socket.unref();
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  resume(): void {
    this.#socket.resume();
  }

  /** After this no byte is written to a reader's memory any more. */
  destroy(): void {
    this.#socket.destroy();
  }

  #received(bytes: number): boolean {
    if (this.#reader !== undefined) return this.#reader.received(bytes);
    // Nobody has asked for anything: whatever it is, it would be taken for the next answer.
    this.destroy();
    return false;
  }
}

/** Where a connection leads. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

interface Idle {
  readonly socket: KeptSocket;
  readonly place: Place;
  /** By `performance.now()`. */
  readonly since: number;
}

/** A connection that rested longer is not used again: routers forget it without a word. Milliseconds. */
export const LONGEST_REST_MS = 60_000;

/** Kept connections; the one used last is taken first. */
export class Sockets {
  readonly #options: { lookup: net.LookupFunction };
  readonly #secure: tls.ConnectionOptions | undefined;
  readonly #idle: Idle[] = [];
  readonly #open = new Set<KeptSocket>();

  /** With `secure` they speak TLS. */
  constructor(options: { lookup: net.LookupFunction }, secure: tls.ConnectionOptions | undefined) {
    this.#options = options;
    this.#secure = secure;
  }

  /** A connection for one request, which `release` must give back. `fresh`: not one that was idle. */
  take(place: Place, fresh: boolean): KeptSocket {
    const idle = fresh ? undefined : this.#takeIdle(place);
    if (idle !== undefined) return idle;
    const made: KeptSocket = new KeptSocket(
      (onread) => this.#connect(place, onread),
      () => this.#forget(made),
    );
    this.#open.add(made);
    return made;
  }

  release(socket: KeptSocket, place: Place, reusable: boolean): void {
    if (reusable && socket.isOpen) {
      socket.rest();
      this.#idle.push({ socket, place, since: performance.now() });
    } else socket.destroy();
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #connect({ host, port }: Place, onread: net.OnReadOpts): net.Socket {
    const options = { ...this.#options, host, port, noDelay: true, keepAlive: true, onread };
    if (this.#secure === undefined) return net.connect(options);
    return tls.connect({
      ...options,
      ...this.#secure,
      ...(net.isIP(host) === 0 ? { servername: host } : {}),
    });
  }

  #takeIdle(place: Place): KeptSocket | undefined {
    const oldest = performance.now() - LONGEST_REST_MS;
    for (const { socket, since } of this.#idle) if (since < oldest) socket.destroy();
    const at = this.#idle.findLastIndex((idle) => samePlace(idle.place, place) && idle.socket.isOpen);
    return at < 0 ? undefined : this.#idle.splice(at, 1)[0]?.socket;
  }

  #forget(socket: KeptSocket): void {
    this.#open.delete(socket);
    const at = this.#idle.findIndex((idle) => idle.socket === socket);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}

function samePlace(a: Place, b: Place): boolean {
  return a.host === b.host && a.port === b.port;
}
