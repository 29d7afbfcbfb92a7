import type { Server } from '@grpc/grpc-js';
import type { RegisteredAction } from './actions/contract.ts';
import { registerActions, type Offer } from './actions/wire/register.ts';
import { readArguments } from './goplugin/arguments.ts';
import { BY_HAND, readHost } from './goplugin/handshake.ts';
import { captureConsole, createLog, type Log } from './goplugin/log.ts';
import { startOfParent } from './goplugin/parent.ts';
import { serve } from './goplugin/serve.ts';
import { install } from './install.ts';

/** An executable with these actions: Velero starts it, an init container has it copy itself, a person gets a sentence. */
export function runPlugin(actions: readonly RegisteredAction[], offer?: Offer): void {
  run(actions, offer).catch((error: unknown) => {
    process.stderr.write(
      `velero-plugin-datamover: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exit(1);
  });
}

async function run(actions: readonly RegisteredAction[], offer?: Offer): Promise<void> {
  const given = readArguments(process.argv.slice(2));
  const host = readHost(process.env);
  if (host === undefined) {
    if (given.version)
      process.stdout.write(`velero-plugin-datamover ${process.env['PLUGIN_VERSION'] ?? 'not packaged'}\n`);
    else if (given.install !== undefined)
      process.stdout.write(`${install(process.execPath, given.install)}\n`);
    else {
      process.stderr.write(BY_HAND);
      process.exitCode = 1;
    }
    return;
  }
  const log = createLog({ level: given.logLevel });
  captureConsole(log);
  endOnBugs(log);
  const { features, kubeconfig } = given;
  const veleroNamespace = given.namespace ?? process.env['VELERO_NAMESPACE'] ?? 'velero';
  const hostStarted = startOfParent('velero');
  const site = { log, features, kubeconfig, veleroNamespace, hostStarted };
  const register = (server: Server): void => registerActions(server, actions, site, process.execPath, offer);
  await serve({ host, log, register });
}

/** A bug must not leave a process that answers half of its calls: the host starts a new one for the next call. */
function endOnBugs(log: Log): void {
  const end = (error: unknown): void => {
    const stack = error instanceof Error ? error.stack : undefined;
    log.error(`the plugin ends: ${error instanceof Error ? error.message : String(error)}`, { stack });
    process.exit(1);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
}
