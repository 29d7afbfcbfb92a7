import { Server, ServerCredentials } from '@grpc/grpc-js';
import { writeSync } from 'node:fs';
import { handshakeLine, type HostRequest } from './handshake.ts';
import type { Log } from './log.ts';
import { endWithParent } from './parent.ts';
import { addService, broker, controller, health, stdio } from './services.ts';
import { chooseSocketPath, restrictSocket, unlinkAtExit } from './socket.ts';

/** How long calls that still run may take after the host has said that it is done; it kills after two seconds. */
const SHUTDOWN_GRACE_MS = 1_000;

export interface Plugin {
  readonly host: HostRequest;
  readonly log: Log;
  /** Registers the plugin's own services. */
  readonly register: (server: Server) => void;
}

/** Serves until the host shuts the process down or is gone. Resolves when the host has been told where. */
export async function serve({ host, log, register }: Plugin): Promise<void> {
  // Items may be of any size: a Secret or ConfigMap has up to 1 MiB, custom resources more.
  const server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
  const exit = (): void => process.exit(0);
  const shutDown = (): void => {
    setTimeout(exit, SHUTDOWN_GRACE_MS).unref();
    server.tryShutdown(exit);
  };
  addService(server, 'plugin.GRPCBroker', broker);
  addService(server, 'plugin.GRPCStdio', stdio);
  addService(server, 'plugin.GRPCController', controller(shutDown));
  addService(server, 'grpc.health.v1.Health', health);
  register(server);

  const path = chooseSocketPath(host, process.env);
  const identity = host.clientCertificate === undefined ? undefined : await mutualTls(host.clientCertificate);
  unlinkAtExit(path);
  await bind(server, path, identity?.credentials ?? ServerCredentials.createInsecure());
  restrictSocket(path, host.socketGroup);
  endWithParent(() => {
    log.info('the process that started this plugin is gone');
    exit();
  });
  // A terminal's Ctrl-C goes to the whole process group: the host decides when its plugins end.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', shutDown);
  writeSync(1, handshakeLine(host, path, identity?.certificate));
}

/** Only for hosts that ask: making a key takes time that Velero's start does not have to spend. */
async function mutualTls(clientCertificate: string) {
  const { autoMtls } = await import('./auto-mtls.ts');
  return autoMtls(clientCertificate);
}

function bind(server: Server, path: string, credentials: ServerCredentials): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, credentials, (error) => (error === null ? resolve() : reject(error)));
  });
}
