import { readFileSync } from 'node:fs';

/** How often the parent is looked at; the look is one system call. */
const INTERVAL_MS = 500;

/**
 * Ends this process when its parent is gone: a host that was killed cannot ask its plugins to stop. Standard input tells nothing, for the server's is
 * at its end from the beginning in a pod.
 */
export function endWithParent(onOrphaned: () => void): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) onOrphaned();
  }, INTERVAL_MS).unref();
}

/** The kernel's USER_HZ, in which /proc counts, on every architecture that we run on. */
const TICKS_PER_SECOND = 100;
/** Fields of /proc/PID/stat behind the name, which ends with the line's last parenthesis (proc_pid_stat(5): 22, counted from 3). */
const START_FIELD = 22 - 3;

/**
 * When the process that started this one began, if it is called `name`; undefined where it is called otherwise or /proc does not tell (hidepid). It is
 * counted back from our own start: boot time and uptime are not the host's in every container, but the two starts are on one scale.
 */
export function startOfParent(
  name: string,
  { proc = '/proc', pid = process.ppid, upForMs = process.uptime() * 1000, now = Date.now() } = {},
): Date | undefined {
  const parent = statOf(`${proc}/${pid}/stat`);
  const own = statOf(`${proc}/self/stat`);
  if (parent?.name !== name || own === undefined) return undefined;
  const between = ((own.start - parent.start) / TICKS_PER_SECOND) * 1000;
  return between < 0 ? undefined : new Date(now - upForMs - between);
}

function statOf(file: string): { readonly name: string; readonly start: number } | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const [, name, rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(text) ?? [];
  const start = Number(rest.split(' ')[START_FIELD] ?? NaN);
  return name === undefined || !Number.isFinite(start) ? undefined : { name, start };
}
