import { readFileSync, readlinkSync } from 'node:fs';

/** Milliseconds after which somebody whom we cannot look for is taken for gone. */
const PATIENCE_MS = 24 * 60 * 60 * 1000;

/**
 * A name of this process for things outside that it must take away again, such as a hold: from it `isGone` tells later whether
 * the process ended without doing so. Letters, digits and dashes: boot, PID namespace, PID, start time.
 */
export function ownerName(): string {
  return `${bootId()}-${pidNamespace()}-${process.pid}-${startTime(process.pid) ?? '0'}`;
}

/**
 * Whether the process with this name is no more: because the machine was booted since, or because no such process runs. Of one
 * in another PID namespace (another container) only its age can tell: a day, `since` being milliseconds of the epoch.
 */
export function isGone(owner: string, since: number, now = Date.now()): boolean {
  const [boot, namespace, pid, start] = owner.split('-');
  if (boot !== bootId()) return true;
  if (namespace === pidNamespace()) return startTime(Number(pid)) !== start;
  return now - since > PATIENCE_MS;
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
