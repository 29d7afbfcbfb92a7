import { spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findPeer } from '../servers/peers.ts';
import { logFile, runningCluster, stateDirectory, wantsZfs, type ClusterAccess } from './state.ts';
import { SYSTEM_PEERS } from './system.ts';

const POLL_MS = 200;

export interface Brought {
  readonly access: ClusterAccess;
  /** It was up before. */
  readonly already: boolean;
}

/**
 * The cluster of this machine's user: the one that is up, or a new one in the background. Tells what it is doing. There is no time
 * limit: a machine may be slow, and whoever is tired of it presses Ctrl-C and says `make cluster-down`.
 */
export async function bringUp(say: (text: string) => void): Promise<Brought> {
  const before = runningCluster();
  if (before?.access !== undefined) return { access: before.access, already: true };
  await mkdir(stateDirectory(), { recursive: true, mode: 0o700 });
  const alive = before === undefined ? begin() : () => runningCluster() !== undefined;
  say(before === undefined ? 'Starting, all of it on 127.0.0.1:' : 'It is being started already:');
  for (let told = 0; ;) {
    const living = alive();
    const said = existsSync(logFile()) ? readFileSync(logFile(), 'utf8') : '';
    const whole = said.lastIndexOf('\n') + 1;
    if (whole > told) say(said.slice(told, whole - 1));
    told = Math.max(told, whole);
    const access = runningCluster()?.access;
    if (access !== undefined) return { access, already: false };
    if (!living) throw new Error(`the cluster did not start; ${logFile()} has all that was said`);
    await delay(POLL_MS);
  }
}

/** Starts the process that holds everything, in a session of its own. Gives a function that says whether it lives. */
function begin(): () => boolean {
  const wanted = [...SYSTEM_PEERS, ...(wantsZfs() ? (['openzfs'] as const) : [])];
  const missing = wanted.flatMap((name) => {
    const peer = findPeer(name);
    return 'missing' in peer ? [`${name}: ${peer.missing}`] : [];
  });
  if (missing.length > 0) throw new Error(`these programs are missing:\n${missing.join('\n')}`);
  const log = openSync(logFile(), 'w', 0o600);
  const serve = fileURLToPath(new URL('serve.js', import.meta.url));
  const server = spawn(process.execPath, ['--no-warnings', serve], {
    ...{ detached: true, stdio: ['ignore', log, log] },
  });
  server.unref();
  return () => server.exitCode === null && server.signalCode === null;
}
