import { once } from 'node:events';
import { createInterface } from 'node:readline';
import {
  Client,
  credentials,
  type ChannelCredentials,
  type ChannelOptions,
  type MethodDefinition,
} from '@grpc/grpc-js';
import { start, type Running } from '../../datamover/process/spawn.ts';
import { serviceDefinition } from '../../proto/service.ts';

/** What go-plugin's client puts into the environment for Velero (reference: Velero pkg/plugin/clientmgmt/process). */
export const HOST_ENV = {
  VELERO_PLUGIN: 'hello',
  PLUGIN_MIN_PORT: '10000',
  PLUGIN_MAX_PORT: '25000',
  PLUGIN_PROTOCOL_VERSIONS: '2',
  NODE_OPTIONS: undefined,
};

export interface HostOptions {
  readonly file: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Given the handshake's sixth field; plain text without it, as Velero has it. */
  readonly credentials?: (certificate: string) => ChannelCredentials;
  /** Where the socket is for this process, when the plugin has another root. */
  readonly socketPath?: (path: string, pid: number) => string;
  /** More of grpc-js’s channel options. */
  readonly channel?: ChannelOptions;
}

export interface Connected {
  readonly process: Running;
  /** The handshake line's fields. */
  readonly handshake: readonly string[];
  readonly socket: string;
  readonly client: Client;
  /** What came on stdout after the handshake line. */
  readonly stdout: readonly string[];
  /** Calls a method with one request and one answer. */
  readonly call: <Request extends object, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
  ) => Promise<Response>;
  /** go-plugin's way to end a plugin: Shutdown, close the connection, wait. Gives the log lines. */
  readonly end: () => Promise<string[]>;
}

/** Starts a plugin and connects to it as go-plugin's host does. */
export async function connect(options: HostOptions): Promise<Connected> {
  const process = await start({
    ...{ file: options.file, args: options.args ?? [], env: { ...HOST_ENV, ...options.env } },
    operation: 'run the plugin',
  });
  const lines = createInterface({ input: process.stdout });
  const stdout: string[] = [];
  const first = await Promise.race([
    once(lines, 'line').then(([line]) => String(line)),
    process.finished.then(({ stderr }) => Promise.reject(new Error(`the plugin ended: ${stderr}`))),
  ]);
  lines.on('line', (line) => stdout.push(line));
  const handshake = first.split('|');
  const socket = handshake[3] ?? '';
  const client = new Client(
    `unix:${options.socketPath?.(socket, process.pid) ?? socket}`,
    options.credentials?.(handshake[5] ?? '') ?? credentials.createInsecure(),
    {
      ...{ 'grpc.default_authority': 'unused', 'grpc.enable_http_proxy': 0 },
      ...{ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 },
      ...options.channel,
    },
  );
  const call: Connected['call'] = (method, request) =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        ...([method.path, method.requestSerialize, method.responseDeserialize, request] as const),
        (error, response) =>
          error === null && response !== undefined
            ? resolve(response)
            : reject(error ?? new Error('nothing')),
      );
    });
  return {
    ...{ process, handshake, socket, client, stdout, call },
    async end() {
      await call(serviceDefinition('plugin.GRPCController').Shutdown, {});
      client.close();
      const { stderr } = await process.finished;
      return stderr.split('\n').filter((line) => line !== '');
    },
  };
}
