/**
 * The virtual machine's network reaches nothing. A bridge makes loopback ports of this machine loopback ports in there: a program
 * inside (vm-bridge-inside.ts) listens, and everything goes through its stdin and stdout as frames.
 */
import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { start } from '../../datamover/process/spawn.ts';
import type { OpenZfsEndpoint } from './openzfs.ts';

/** What a frame means: a byte, then the connection's number and the length of what follows, both in 4 bytes. */
export const FRAME = { open: 1, data: 2, end: 3 } as const;
const HEAD_BYTES = 9;

export function frame(type: number, connection: number, data: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt8(type, 0);
  head.writeUInt32LE(connection, 1);
  head.writeUInt32LE(data.length, 5);
  return Buffer.concat([head, data]);
}

/** Cuts a stream of bytes into frames. */
export function frameReader(
  onFrame: (type: number, connection: number, data: Buffer) => void,
): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    while (rest.length >= HEAD_BYTES && rest.length >= HEAD_BYTES + rest.readUInt32LE(5)) {
      const end = HEAD_BYTES + rest.readUInt32LE(5);
      onFrame(rest.readUInt8(0), rest.readUInt32LE(1), rest.subarray(HEAD_BYTES, end));
      rest = rest.subarray(end);
    }
  };
}

/** Carries one side's connections. `send` hands a frame to the other side. */
export class Connections {
  readonly #sockets = new Map<number, Socket>();
  readonly #send: (frame: Buffer) => void;

  constructor(send: (frame: Buffer) => void) {
    this.#send = send;
  }

  add(connection: number, socket: Socket): void {
    this.#sockets.set(connection, socket);
    socket.on('data', (data) => this.#send(frame(FRAME.data, connection, data)));
    socket.once('close', () => {
      if (this.#sockets.delete(connection)) this.#send(frame(FRAME.end, connection, Buffer.alloc(0)));
    });
    // The close that follows tells the other side.
    socket.on('error', () => undefined);
  }

  data(connection: number, data: Buffer): void {
    this.#sockets.get(connection)?.write(data);
  }

  end(connection: number): void {
    const socket = this.#sockets.get(connection);
    this.#sockets.delete(connection);
    socket?.destroySoon();
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
    this.#sockets.clear();
  }
}

/** Makes these ports of this machine reachable inside, until `stop`. */
export async function bridgePorts(
  machine: OpenZfsEndpoint,
  ports: readonly number[],
): Promise<{ stop(): Promise<void> }> {
  const inside = fileURLToPath(new URL('vm-bridge-inside.js', import.meta.url));
  const input = new PassThrough();
  const running = await start({
    ...{ file: 'vm', args: ['--host', process.execPath, '--no-warnings', inside, ...ports.map(String)] },
    ...{ env: machine.environment, input, subject: 'the bridge into the virtual machine' },
  });
  const connections = new Connections((bytes) => input.write(bytes));
  const ready = Promise.withResolvers<undefined>();
  running.finished.catch((error: unknown) => ready.reject(error));
  running.stdout.on(
    'data',
    frameReader((type, connection, data) => {
      if (type === FRAME.data) connections.data(connection, data);
      else if (type === FRAME.end) connections.end(connection);
      else if (connection === 0) ready.resolve(undefined);
      else connections.add(connection, connect({ host: '127.0.0.1', port: data.readUInt32LE(0) }));
    }),
  );
  await ready.promise;
  return {
    async stop() {
      connections.close();
      await running.stop();
    },
  };
}
