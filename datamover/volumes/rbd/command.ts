import type { Readable } from 'node:stream';
import { DatamoverError } from '../../errors.ts';
import { commandFailure, run, start, type Command, type Running } from '../../process/spawn.ts';
import { formatImageName, type ImageName } from './image-name.ts';
import { LibrbdError } from './librbd-error.ts';

/**
 * How the cluster is reached. Without any of it `rbd` looks where Ceph's tools look: /etc/ceph/ceph.conf, CEPH_CONF, the keyring
 * of client.admin. The user's key is read by `rbd` from the keyring file: it is never an argument and never in our memory.
 */
export interface RbdConnection {
  /** Path of the ceph.conf. */
  readonly conf?: string;
  /** The cephx user's name without `client.`. */
  readonly user?: string;
  /** Path of the file with that user's key. */
  readonly keyring?: string;
  /** Seconds until monitors that do not answer are a failure; 30 without it (Ceph's own 300 look like a hang). */
  readonly patience?: number;
  /** The program; `rbd` in PATH without it. */
  readonly program?: string;
  /** A folder with another librbd than the machine's: a tree of unpacked Debian packages (library-command.ts). */
  readonly libraries?: string;
}

/** What is asked of `rbd`, and of which image. */
export interface RbdRequest {
  /** A verb phrase for messages: `export changes of`. */
  readonly operation: string;
  readonly name: ImageName;
  readonly args: readonly string[];
  /** What the program reads. */
  readonly input?: Readable;
  /** A descriptor of ours for what it prints; see Command. */
  readonly stdoutTo?: number;
  readonly signal?: AbortSignal;
}

const USER = /^[A-Za-z0-9_.][A-Za-z0-9_.:-]{0,254}$/;

/** Runs `rbd` and gives what its JSON says; undefined where it says nothing at all, as of no image-meta. */
export async function askRbd(connection: RbdConnection, request: RbdRequest): Promise<unknown> {
  const command = rbdCommand(connection, { ...request, args: [...request.args, '--format', 'json'] });
  const { stdout } = await run(command).catch((error: unknown) => {
    throw explain(error, request);
  });
  if (stdout.trim() === '') return undefined;
  try {
    return JSON.parse(stdout) as unknown;
  } catch (error) {
    throw new DatamoverError({ ...subject(request), cause: error });
  }
}

/** Runs `rbd` to its end. */
export async function runRbd(connection: RbdConnection, request: RbdRequest): Promise<void> {
  await run(rbdCommand(connection, request)).catch((error: unknown) => {
    throw explain(error, request);
  });
}

/** Starts `rbd`; its failures are explained as those of `askRbd` are. */
export async function startRbd(connection: RbdConnection, request: RbdRequest): Promise<Running> {
  const running = await start(rbdCommand(connection, request));
  const finished = running.finished.catch((error: unknown) => {
    throw explain(error, request);
  });
  // The caller reads stdout first and looks at the outcome later.
  finished.catch(() => undefined);
  return { ...running, finished };
}

function rbdCommand(connection: RbdConnection, request: RbdRequest): Command {
  const { patience, program } = connection;
  const limit = ['--client-mount-timeout', String(Math.max(1, Math.ceil(patience ?? 30)))];
  return {
    file: program ?? 'rbd',
    args: [...request.args, ...limit, ...accessOptions(connection)],
    ...subject(request),
    ...(request.input === undefined ? {} : { input: request.input }),
    ...(request.stdoutTo === undefined ? {} : { stdoutTo: request.stdoutTo }),
    ...(request.signal === undefined ? {} : { signal: request.signal }),
  };
}

/** The options by which every tool of Ceph's finds the cluster, the user and the file with its key. */
export function accessOptions({ conf, user, keyring }: RbdConnection): string[] {
  const access: string[] = [];
  if (conf !== undefined) access.push('--conf', path('the configuration', conf));
  if (user !== undefined) {
    if (!USER.test(user)) throw refused(`the cephx user ${JSON.stringify(user)}`);
    access.push('--id', user);
  }
  if (keyring !== undefined) access.push('--keyring', path('the keyring', keyring));
  return access;
}

/** A path that the program cannot take for an option; Ceph reads a comma or blank as the next path of a list. */
function path(what: string, value: string): string {
  if (!/^[^-,;\s\0][^,;\s\0]*$/.test(value)) throw refused(`${what} ${JSON.stringify(value)}`);
  return value;
}

function refused(what: string): DatamoverError {
  return new DatamoverError({
    operation: 'connect to Ceph',
    cause: `${what} has characters that do not go together with Ceph's options`,
    kind: 'usage',
  });
}

function subject({ operation, name }: RbdRequest): { operation: string; subject: string } {
  return { operation, subject: formatImageName(name) };
}

/** Adds to rbd's exit status, which is an errno, what the reader can do. */
function explain(error: unknown, request: RbdRequest): unknown {
  const failure = commandFailure(error);
  const hint = failure === undefined ? undefined : hintFor(failure.status, failure.stderr);
  if (failure === undefined || hint === undefined) return error;
  return new DatamoverError({ ...subject(request), cause: failure, hint });
}

/** Whether `rbd` ended with one of these errnos (EPERM is 1), or librbd gave it. */
export function isRbdErrno(error: unknown, ...errnos: readonly number[]): boolean {
  const cause: unknown = error instanceof DatamoverError ? error.cause : error;
  const errno = cause instanceof LibrbdError ? cause.errno : commandFailure(error)?.status;
  return errno !== undefined && errnos.includes(errno);
}

/** What the reader can do about an errno. `said`: by a program that tells it as its exit status. */
export function hintFor(status: number | undefined, said = ''): string | undefined {
  // Without a connection every command ends with status 1 or 2, whatever was asked.
  if (said.includes("couldn't connect to the cluster"))
    return 'check the monitors in ceph.conf, the cephx user and its keyring file';
  if (status === 2) return 'check that the pool, the image and the snap exist: rbd snap ls lists them';
  if (status === 1 || status === 13)
    return "check the capabilities of the cephx user: 'profile rbd' suffices";
  return undefined;
}
