import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { describeCause } from '../../datamover/errors.ts';
import { start, type Command } from '../../datamover/process/spawn.ts';

export interface Daemon {
  readonly pid: number;
  /** How it ended, as far as that is known yet. */
  ended(): string | undefined;
  stop(): Promise<void>;
}

export interface DaemonCommand extends Command {
  /** Asked again and again until it says yes; it may throw while the server is not there yet. */
  readonly ready: () => Promise<boolean>;
  /** Milliseconds until not being ready is a failure; 60 s without it. */
  readonly patience?: number;
  /** Where what it writes to stdout is kept; in memory, the end of it, without a file. */
  readonly logFile?: string;
  /** Its log goes to stderr: taken together with stdout. */
  readonly logsToStderr?: boolean;
}

const POLL_MS = 50;

/**
 * Starts a server in the foreground and waits until it is ready. Whatever happens to this process, also kill -9, the kernel ends
 * the server with it (PR_SET_PDEATHSIG, through setpriv of util-linux).
 */
export async function startDaemon(command: DaemonCommand): Promise<Daemon> {
  const { ready, patience, logFile, logsToStderr = false, ...rest } = command;
  // A pipe of its own for stderr would end at 64 KiB.
  const joined = logsToStderr ? ['/bin/sh', '-c', 'exec "$@" 2>&1', 'sh'] : [];
  const running = await start({
    ...rest,
    file: 'setpriv',
    args: ['--pdeathsig', 'KILL', '--', ...joined, command.file, ...command.args],
    subject: command.subject ?? command.file,
  });
  const said: string[] = [];
  running.stdout.on('data', (chunk: Buffer) => {
    said.push(chunk.toString());
    if (logFile !== undefined) appendFileSync(logFile, chunk);
    if (said.length > 100) said.shift();
  });
  let ended: string | undefined;
  running.finished.then(
    () => (ended = 'it ended'),
    (error: unknown) => (ended = describeCause(error)),
  );
  const deadline = Date.now() + (patience ?? 60_000);
  while (!(await ready().catch(() => false))) {
    if (ended === undefined && Date.now() < deadline) {
      await delay(POLL_MS);
      continue;
    }
    await running.stop();
    throw new Error(
      `start ${command.file}: ${ended ?? 'not ready in time'}; it said: ${said.join('').slice(-2000)}`,
    );
  }
  return {
    pid: running.pid,
    ended: () => ended,
    async stop() {
      const closed = running.stdout.closed ? undefined : once(running.stdout, 'close');
      await running.stop();
      await closed;
    },
  };
}

/** Whether an HTTP server answers at this address with a status below 500; throws while nobody listens. */
export async function answers(url: string, caFile?: string): Promise<boolean> {
  const client = url.startsWith('https:') ? https : http;
  const ca = caFile === undefined ? undefined : await readFile(caFile);
  return new Promise((resolve, reject) => {
    const request = client.get(url, { ca, agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve((response.statusCode ?? 500) < 500);
    });
    request.once('timeout', () => request.destroy(new Error('no answer')));
    request.once('error', reject);
  });
}
