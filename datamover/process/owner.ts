import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';

/** Milliseconds after which somebody whom we cannot look for is taken for gone. */
const PATIENCE_MS = 24 * 60 * 60 * 1000;
/** Names go into names of snaps and images, which have an end. */
const TRANSFER_DIGITS = 12;

/**
 * The environment variable with the transfer that this process and its children work for, if they do for one of which nobody
 * else carries the same at the same time: an agent's lease sees to that (K-13).
 */
export const TRANSFER_VARIABLE = 'DATAMOVER_TRANSFER';

const working = new AsyncLocalStorage<string>();

/** Does work for a transfer, as a process with the variable would: an agent cleans up after several. */
export function workingFor<T>(transfer: string, work: () => Promise<T>): Promise<T> {
  return working.run(transfer, work);
}

/** The transfer that is worked for; empty where there is none. */
export function currentTransfer(): string {
  return working.getStore() ?? process.env[TRANSFER_VARIABLE] ?? '';
}

/**
 * Who can reach what is owned. A pool is imported on one machine at a time, so an owner with another boot is from before this one;
 * an image of a Ceph cluster is reached from many, and he may be at work on another.
 */
export type Reach = 'one machine' | 'many machines';

/**
 * A name of this process for things outside that it must take away again, such as a hold: from it `isGone` tells later whether
 * the process ended without doing so. Letters, digits and dashes: boot, PID namespace, PID, start time and, where there is one,
 * the transfer.
 */
export function ownerName(): string {
  const transfer = ownTransfer();
  const name = `${bootId()}-${pidNamespace()}-${process.pid}-${startTime(process.pid) ?? '0'}`;
  return transfer === undefined ? name : `${name}-${transfer}`;
}

/** `unknown`: young enough to be at work where we cannot look. */
export type Fate = 'lives' | 'gone' | 'unknown';

/** Whether the process with this name is no more. */
export function isGone(owner: string, since: number, reach: Reach, now = Date.now()): boolean {
  return fateOf(owner, since, reach, now) === 'gone';
}

/**
 * What became of the process with this name. Of those that we can look for /proc tells. Of others: whoever worked for our own
 * transfer is gone, else we would not have it; on a storage of one machine so is everybody from before its boot. All that is left
 * to tell of the rest is the age: a day, `since` being milliseconds of the epoch by the clock of the other machine (ADR 19: by how
 * much the two may differ).
 */
export function fateOf(owner: string, since: number, reach: Reach, now = Date.now()): Fate {
  const [boot, namespace, pid, start, transfer] = owner.split('-');
  const isBootOurs = boot === bootId();
  if (isBootOurs && namespace === pidNamespace()) return startTime(Number(pid)) === start ? 'lives' : 'gone';
  if (transfer !== undefined && transfer === ownTransfer()) return 'gone';
  if (!isBootOurs && reach === 'one machine') return 'gone';
  return now - since > PATIENCE_MS ? 'gone' : 'unknown';
}

/** Hashed: nothing of what it is called can be mistaken for a part of the name. */
function ownTransfer(): string | undefined {
  const transfer = currentTransfer();
  if (transfer === '') return undefined;
  return createHash('sha256').update(transfer).digest('hex').slice(0, TRANSFER_DIGITS);
}

/** The first half of this boot's random id, the same in every container of the machine. */
function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').replaceAll('-', '').slice(0, 16);
}

function pidNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
}

/**
 * Clock ticks from the boot to the process's start (proc_pid_stat(5), field 22); undefined where there is none, or one that has
 * ended and that nobody has asked how: the first process of a container may never ask.
 */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in brackets, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
