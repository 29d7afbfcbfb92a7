import { readdirSync, readFileSync } from 'node:fs';
import { exit } from '../../datamover/process/exit.ts';

/** The longest file takes 18 minutes beside two others on two slow processors. */
const LIMIT_SECONDS = Number(process.env['DATAMOVER_TEST_FILE_SECONDS'] ?? 2400);
const LOOK_EVERY_MS = 1000;

/** The part of jest's Test that is read here. */
interface TestFile {
  readonly path: string;
}

/**
 * Ends a run that has a file which does not: jest's own limits are timers of the process that runs the file, and nothing fires there
 * while a call does not return (a client library that waits for a dead server, say). It tells what each process was doing, for
 * without that nobody knows what to mend.
 */
export default class Watchdog {
  readonly #began = new Map<string, number>();
  #watch: NodeJS.Timeout | undefined;

  onRunStart(): void {
    this.#watch = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  onTestFileStart({ path }: TestFile): void {
    this.#began.set(path, performance.now());
  }

  onTestFileResult({ path }: TestFile): void {
    this.#began.delete(path);
  }

  onRunComplete(): void {
    clearInterval(this.#watch);
  }

  #look(): void {
    const late = [...this.#began].filter(([, began]) => performance.now() - began > LIMIT_SECONDS * 1000);
    if (late.length === 0) return;
    const processes = descendants(process.pid);
    console.error(
      [
        ...late.map(([path]) => `FAIL ${path}: not at its end after ${LIMIT_SECONDS} s; the run is ended.`),
        ...[...this.#began.keys()].map((path) => `running: ${path}`),
        'what its processes were doing:',
        ...processes.map(describe),
      ].join('\n'),
    );
    for (const { pid } of processes.toReversed()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    exit(1);
  }
}

interface Descendant {
  readonly pid: number;
  readonly depth: number;
}

function descendants(of: number, depth = 0): Descendant[] {
  const children = tasksOf(of).flatMap((task) => read(`/proc/${of}/task/${task}/children`).split(' '));
  return children
    .filter((child) => child !== '')
    .flatMap((child) => [{ pid: Number(child), depth }, ...descendants(Number(child), depth + 1)]);
}

/** The kernel lists a child with the thread that made it. */
function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** Pid, state, what the kernel waits for in its first thread, and the command line. */
function describe({ pid, depth }: Descendant): string {
  const state = /^State:\s+(\S)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 'gone';
  const waits = read(`/proc/${pid}/wchan`);
  const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').slice(0, 200);
  return `${'  '.repeat(depth)}${pid} ${state} ${waits} ${command}`;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
