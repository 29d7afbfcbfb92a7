import { randomBytes } from 'node:crypto';
import { accessSync, chmodSync, chownSync, constants, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostRequest } from './handshake.ts';

/** Linux: sun_path has 108 bytes and ends with a zero. */
const LONGEST_PATH = 107;

/**
 * A new path for the server's socket: where the host wants it, else in the temporary directory, else in Velero's scratch directory, which its
 * pod can write when the root is read-only.
 */
export function chooseSocketPath(host: HostRequest, env: Readonly<NodeJS.ProcessEnv>): string {
  const name = `plugin${process.pid}-${randomBytes(6).toString('hex')}`;
  const scratch = env['VELERO_SCRATCH_DIR'];
  const directories =
    host.socketDirectory === undefined
      ? [tmpdir(), ...(scratch === undefined || scratch === '' ? [] : [scratch])]
      : [host.socketDirectory];
  const refusals: string[] = [];
  for (const directory of directories) {
    const path = join(directory, name);
    const refusal = Buffer.byteLength(path) > LONGEST_PATH ? 'its name is too long' : cannotWrite(directory);
    if (refusal === undefined) return path;
    refusals.push(`${directory}: ${refusal}`);
  }
  throw new Error(
    `no place for the plugin's socket (${refusals.join('; ')}): mount a writable directory and name it in TMPDIR`,
  );
}

function cannotWrite(directory: string): string | undefined {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Opens the socket to the host's group, or to this user alone. */
export function restrictSocket(path: string, group: string | undefined): void {
  if (group === undefined) {
    chmodSync(path, 0o600);
    return;
  }
  chownSync(path, -1, groupId(group));
  chmodSync(path, 0o660);
}

function groupId(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [name, , id] = line.split(':');
    if (name === group && id !== undefined) return Number(id);
  }
  throw new Error(`PLUGIN_UNIX_SOCKET_GROUP names group ${group}, which /etc/group does not have`);
}

/** Takes the socket away however the process ends, SIGKILL apart. */
export function unlinkAtExit(path: string): void {
  process.once('exit', () => rmSync(path, { force: true }));
}
