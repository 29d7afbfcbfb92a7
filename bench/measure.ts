import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../datamover/process/spawn.ts';

/** What one run of one command took, its children included. Times are seconds. */
export interface Sample {
  readonly wall: number;
  readonly user: number;
  readonly sys: number;
  /** The most memory it held at any moment, MiB. */
  readonly rss: number;
}

export interface Job {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What it reads; nothing without it. */
  readonly stdin?: string;
  /** Where its output goes: a path, or a pipe to a program that only reads. `/dev/null` without it. */
  readonly stdout?: string | { readonly pipe: true };
}

/** GNU time, of the package `time`: the kernel's own account of a process and its children. */
const TIME = '/usr/bin/time';

/** The redirections need a shell; its text is fixed, everything that varies comes as arguments and variables. */
const TO_FILE = 'exec "$@" <"$BENCH_STDIN" >"$BENCH_STDOUT"';
const TO_PIPE = '"$@" <"$BENCH_STDIN" | cat >/dev/null';

/** Settings of the caller that would make two machines, or two programs, differ. */
const NEUTRAL = {
  ...{
    NODE_EXTRA_CA_CERTS: undefined,
    AWS_CA_BUNDLE: undefined,
    AWS_SESSION_TOKEN: undefined,
    AWS_PROFILE: undefined,
    AWS_REGION: undefined,
  },
  ...{ GOMAXPROCS: undefined, GOGC: undefined, NODE_OPTIONS: undefined, UV_THREADPOOL_SIZE: undefined },
  ...{ RESTIC_COMPRESSION: undefined, RESTIC_PACK_SIZE: undefined, RESTIC_READ_CONCURRENCY: undefined },
  ...{ RESTIC_PASSWORD_FILE: undefined, RESTIC_PASSWORD_COMMAND: undefined },
  ...{ RESTIC_REPOSITORY_FILE: undefined, RESTIC_CACERT: undefined },
};

/** Runs a command as a process of its own, to its end, and says what it took. `scratch` is a folder for the figures. */
export async function measure(job: Job, scratch: string): Promise<Sample> {
  if (!existsSync(TIME)) throw new Error(`${TIME} is missing: install the package \`time\``);
  const figures = join(scratch, 'times');
  const toPipe = typeof job.stdout === 'object';
  await run({
    file: '/bin/sh',
    args: [
      ...['-c', toPipe ? TO_PIPE : TO_FILE, 'bench'],
      ...[TIME, '-q', '-o', figures, '-f', '%e %U %S %M %x', job.file, ...job.args],
    ],
    env: {
      ...NEUTRAL,
      ...job.env,
      BENCH_STDIN: job.stdin ?? '/dev/null',
      BENCH_STDOUT: typeof job.stdout === 'string' ? job.stdout : '/dev/null',
    },
    operation: 'measure',
    subject: [job.file, ...job.args].join(' '),
  });
  const [wall, user, sys, kibibytes, status] = (await readFile(figures, 'utf8'))
    .trim()
    .split(/\s+/)
    .map(Number);
  await rm(figures);
  // Behind a pipe the shell reports the reader's status alone.
  if (status !== 0)
    throw new Error(`${[job.file, ...job.args].join(' ')} failed with status ${status ?? '?'}`);
  if (wall === undefined || user === undefined || sys === undefined || kibibytes === undefined) {
    throw new Error(`${TIME} did not say what ${job.file} took`);
  }
  return { wall, user, sys, rss: kibibytes / 1024 };
}

export function cpu({ user, sys }: Sample): number {
  return user + sys;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper;
}
