import { readFileSync, readlinkSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { isErrno } from '../errors.ts';
import { countField, encodeDocument, malformed, parseDocument, stringField } from './document.ts';
import { epochMilliseconds } from './time.ts';

/**
 * A lock file. Restic's fields, and four of ours that restic skips: `program` (whose lock it is), `role`, `machine` (kernel
 * and pid namespace, in which alone a pid means anything) and `started`.
 */
export interface Lock {
  /** RFC 3339. */
  readonly time: string;
  readonly exclusive: boolean;
  readonly hostname: string;
  readonly username: string;
  readonly pid: number;
  readonly uid?: number;
  readonly gid?: number;
  /** `datamover/<version>` in our locks. */
  readonly program?: string;
  /** `sweep`: deletes marked packs. Exclusive for restic, tolerated by our own backups. */
  readonly role?: string;
  readonly machine?: string;
  /** RFC 3339; when the job took its first lock: `time` moves on with each refresh. Prune asks whether a backup has seen a mark. */
  readonly started?: string;
}

/**
 * `shared` for all that reads or adds; `exclusive` for what deletes at once; `sweep` for deleting what was marked long ago,
 * beside backups of ours.
 */
export type LockMode = 'shared' | 'exclusive' | 'sweep';

/** A lock that was not refreshed for so long belongs to nobody (restic's figure). */
export const STALE_AFTER_MS = 30 * 60_000;

const PROGRAM = 'datamover/';

export function newLock(mode: LockMode, version: string, started?: string): Lock {
  const user = currentUser();
  const time = new Date().toISOString();
  return {
    time,
    exclusive: mode !== 'shared',
    hostname: hostname(),
    ...user,
    pid: process.pid,
    program: `${PROGRAM}${version}`,
    ...(mode === 'sweep' && { role: 'sweep' }),
    machine: thisMachine(),
    started: started ?? time,
  };
}

export function encodeLock(lock: Lock): Uint8Array<ArrayBuffer> {
  return encodeDocument(lock);
}

export function decodeLock(json: Uint8Array, subject: string): Lock {
  const document = parseDocument(json, subject);
  const text = (name: string): string =>
    document[name] === undefined ? '' : stringField(document, name, subject);
  const lock: Lock = {
    time: stringField(document, 'time', subject),
    exclusive: document['exclusive'] === true,
    hostname: text('hostname'),
    username: text('username'),
    pid: document['pid'] === undefined ? 0 : countField(document, 'pid', subject),
  };
  if (Number.isNaN(epochMilliseconds(lock.time)))
    throw malformed(subject, 'field time is not an RFC 3339 time');
  const ours = ['program', 'role', 'machine', 'started'].filter((name) => typeof document[name] === 'string');
  return { ...lock, ...Object.fromEntries(ours.map((name) => [name, document[name]])) };
}

export function isOurs(lock: Lock): boolean {
  return lock.program?.startsWith(PROGRAM) ?? false;
}

export function modeOf(lock: Lock): LockMode {
  if (!lock.exclusive) return 'shared';
  return isOurs(lock) && lock.role === 'sweep' ? 'sweep' : 'exclusive';
}

/**
 * Whether somebody who holds `held` keeps out somebody who wants `wanted`. A sweep and backups of ours go together; a sweep
 * beside a foreign lock does not, for a foreign backup may refer to what is being swept.
 */
export function conflicts(held: Lock, wanted: LockMode): boolean {
  const mode = modeOf(held);
  if (wanted === 'exclusive' || mode === 'exclusive') return true;
  if (wanted === 'sweep') return mode === 'sweep' || !isOurs(held);
  return false;
}

/**
 * Whether nobody stands behind a lock any more. `ageMs` is its age by the store's clock where that is known, else by its own time.
 */
export function isStale(lock: Lock, ageMs: number): boolean {
  if (ageMs > STALE_AFTER_MS) return true;
  // A pid says something only on the machine that gave it; a lock of restic's tells no more than the host's name.
  const here = isOurs(lock) ? lock.machine === thisMachine() : lock.hostname === hostname();
  return here && lock.pid > 0 && lock.pid !== process.pid && !isAlive(lock.pid);
}

/** `process 4711 of root on node-3, exclusive, since 2026-...` */
export function describeLock(lock: Lock): string {
  const program = lock.program === undefined ? 'process' : `${lock.program}, process`;
  return `${program} ${lock.pid} of ${lock.username || 'somebody'} on ${lock.hostname || 'an unnamed host'}, ${modeOf(lock)}, since ${lock.time}`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrno(error, 'ESRCH');
  }
}

let machine: string | undefined;

/** The running kernel and the pid namespace: two containers of one host name have different pids of the same number. */
function thisMachine(): string {
  machine ??= [
    readOr(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    readOr(() => readlinkSync('/proc/self/ns/pid')),
  ].join('/');
  return machine;
}

function readOr(read: () => string): string {
  try {
    return read();
  } catch {
    // No /proc: the host's name has to do.
    return hostname();
  }
}

function currentUser(): Pick<Lock, 'username' | 'uid' | 'gid'> {
  const ids = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  try {
    return { username: userInfo().username, ...ids };
  } catch {
    // A number without a name, as containers have.
    return { username: '', ...ids };
  }
}
