import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { basename } from 'node:path';
import { Readable, type Writable } from 'node:stream';
import { DatamoverError, isErrno, type FailureDetails } from '../errors.ts';
import { within } from './within.ts';

/**
 * The one door to other programs: an argument array (never a shell), stderr captured, the exit status checked, stoppable.
 * Secrets go through `env` or `input`, never through `args`, which every user of the machine can read.
 */
export interface Command {
  /** A program's name (looked up in PATH) or path. */
  readonly file: string;
  readonly args: readonly string[];
  /** Laid over this process's environment; `undefined` takes a name away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Leaves it this process's own passwords and keys: for programs that the user named, which may want them. */
  readonly inheritsSecrets?: boolean;
  readonly cwd?: string;
  /** What the program reads from stdin; without it stdin is empty. */
  readonly input?: string | Uint8Array | Readable;
  /** A descriptor of ours that the program writes its stdout to, without a copy by us; `Running.stdout` is empty then. */
  readonly stdoutTo?: number;
  /** More descriptors of ours, which the program has as its 3, 4 and so on. */
  readonly descriptors?: readonly number[];
  /** Ends the program: SIGTERM, and SIGKILL when it does not follow. */
  readonly signal?: AbortSignal;
  readonly onStart?: (pid: number) => void;
  /** Exit statuses that are no failure; 0 alone without it. */
  readonly accept?: readonly number[];
  /** For the error's sentence; `run` and the program's name without them. */
  readonly operation?: string;
  readonly subject?: string;
}

export interface Output {
  readonly status: number;
  /** Everything the program wrote, as UTF-8; at most 64 MiB, use `start` for more. */
  readonly stdout: string;
  /** The last 64 KiB of it. */
  readonly stderr: string;
}

/** A program at work. Its stdout counts only when `finished` has resolved: a cut-off output looks like a short one. */
export interface Running {
  readonly pid: number;
  readonly stdout: Readable;
  /** Resolves when the program has ended well; rejects with a DatamoverError whose cause is a `CommandFailure`. */
  readonly finished: Promise<{ readonly status: number; readonly stderr: string }>;
  /** Ends the program (SIGTERM, then SIGKILL) and resolves when it is gone, however it ended. */
  stop(): Promise<void>;
}

/** How a program failed; the `cause` of the error that `run` and `Running.finished` throw. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  /** The exit status; undefined when a signal ended the program. */
  readonly status: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;

  constructor(end: { status?: number; signal?: NodeJS.Signals; stdout?: string; stderr: string }) {
    const how =
      end.status === undefined ? `ended by ${end.signal ?? 'a signal'}` : `exit status ${end.status}`;
    const said = lastWords(end.stderr);
    super(said === '' ? how : `${how}: ${said}`);
    this.status = end.status;
    this.signal = end.signal;
    this.stdout = end.stdout ?? '';
    this.stderr = end.stderr;
  }
}

/** Of this process's environment: a storage's tool has no use for them, and what it starts or dumps might show them. */
const SECRET = /^(RESTIC_\w*PASSWORD|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN))$/;
const STDOUT_LIMIT = 64 * 1024 * 1024;
const STDERR_LIMIT = 64 * 1024;
/** How long a program may take to end after SIGTERM. */
const TERM_GRACE_MS = 5_000;
/** How long grandchildren that outlive the program may keep its stderr open. */
const STDERR_GRACE_MS = 1_000;

type Child = ChildProcessByStdio<Writable, Readable | null, Readable>;

/** Runs a program to its end. Throws a DatamoverError (kind `cancelled` when the signal ended it). */
export async function run(command: Command): Promise<Output> {
  const running = await start(command);
  const [collected, end] = await Promise.allSettled([collect(running, command), running.finished]);
  if (collected.status === 'rejected') {
    throw collected.reason instanceof DatamoverError ? collected.reason : failed(command, collected.reason);
  }
  if (end.status === 'rejected') {
    const cause: unknown = end.reason instanceof DatamoverError ? end.reason.cause : undefined;
    if (!(cause instanceof CommandFailure)) throw end.reason;
    const { status, signal, stderr } = cause;
    throw failed(command, new CommandFailure({ ...pick(status, signal), stdout: collected.value, stderr }));
  }
  return { ...end.value, stdout: collected.value };
}

/** Starts a program whose stdout is read as a stream. Throws when it cannot be started at all. */
export async function start(command: Command): Promise<Running> {
  if (isAborted(command)) throw cancelled(command);
  const child: Child = spawn(command.file, [...command.args], {
    env: { ...inherited(command), ...command.env },
    cwd: command.cwd,
    stdio: ['pipe', command.stdoutTo ?? 'pipe', 'pipe', ...(command.descriptors ?? [])],
  }) as Child;
  const stdout = child.stdout ?? Readable.from([]).on('error', () => undefined);
  // Attached before the first wait, so that nothing the program does at once is missed.
  const stderr = tail(child.stderr);
  const exit = new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) => reject(notStarted(command, error)));
  });
  const stop = async (): Promise<void> => {
    await terminate(child, exit);
  };
  let broken: DatamoverError | undefined;
  const abandon = (reason: DatamoverError): void => {
    broken ??= reason;
    stdout.destroy(broken);
    void stop();
  };
  const onAbort = (): void => abandon(cancelled(command));
  command.signal?.addEventListener('abort', onAbort, { once: true });
  // The signal may have fired while the program was being started.
  if (isAborted(command)) onAbort();
  // A source that fails must not look to the program like one that ended.
  feed(child.stdin, command.input, (error) => abandon(failed(command, error)));

  const finished = exit.then(async ({ status, signal }) => {
    command.signal?.removeEventListener('abort', onAbort);
    const said = await stderr();
    if (broken !== undefined) throw broken;
    if (status !== null && (command.accept ?? [0]).includes(status)) return { status, stderr: said };
    throw failed(command, new CommandFailure({ ...pick(status, signal), stderr: said }));
  });
  // The reader of stdout may come to `finished` later than it fails.
  finished.catch(() => undefined);
  // `kill` and `spawn` both report through 'error'; after the start only a failed kill is left, and `exit` tells the outcome.
  child.on('error', () => undefined);
  const pid = child.pid ?? -1;
  command.onStart?.(pid);
  return { pid, stdout, finished, stop };
}

/** How the program behind this error failed, if a program did: for callers that tell exit statuses apart. */
export function commandFailure(error: unknown): CommandFailure | undefined {
  const cause: unknown = error instanceof DatamoverError ? error.cause : error;
  return cause instanceof CommandFailure ? cause : undefined;
}

function inherited({ inheritsSecrets = false }: Command): NodeJS.ProcessEnv {
  if (inheritsSecrets) return process.env;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !SECRET.test(name)));
}

async function terminate(child: Child, exit: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  if ((await within(TERM_GRACE_MS, exit, 'late')) === 'late') child.kill('SIGKILL');
  await exit;
}

async function collect(running: Running, command: Command): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of running.stdout as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > STDOUT_LIMIT) {
      void running.stop();
      throw new Error(`${basename(command.file)} wrote more than ${STDOUT_LIMIT} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Drains a stream, keeping its last bytes; the answer waits for its end, within reason. */
function tail(stream: Readable): () => Promise<string> {
  let kept = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk]).subarray(-STDERR_LIMIT);
  });
  const closed = new Promise<void>((resolve) => stream.once('close', resolve));
  return async () => {
    await within(STDERR_GRACE_MS, closed, undefined);
    stream.destroy();
    return kept.toString('utf8');
  };
}

function feed(stdin: Writable, input: Command['input'], onSourceError: (error: Error) => void): void {
  // A program that does not read to the end breaks the pipe (EPIPE): its exit status says whether that is a failure.
  stdin.on('error', () => undefined);
  if (input instanceof Readable) {
    input.once('error', onSourceError);
    input.pipe(stdin);
  } else {
    stdin.end(input);
  }
}

function isAborted(command: Command): boolean {
  return command.signal?.aborted === true;
}

function failed(command: Command, cause: unknown): DatamoverError {
  return new DatamoverError({ ...naming(command), cause });
}

function cancelled(command: Command): DatamoverError {
  return new DatamoverError({ ...naming(command), cause: 'stopped', kind: 'cancelled' });
}

function notStarted(command: Command, cause: unknown): DatamoverError {
  const name = basename(command.file);
  if (!isErrno(cause, 'ENOENT') || command.cwd !== undefined) return failed(command, cause);
  return new DatamoverError({
    ...naming(command),
    cause: `${name} is not installed`,
    hint: `install ${name} or put it on the PATH`,
  });
}

function naming(command: Command): Pick<FailureDetails, 'operation' | 'subject'> {
  return { operation: command.operation ?? 'run', subject: command.subject ?? basename(command.file) };
}

function pick(
  status: number | null | undefined,
  signal: NodeJS.Signals | null | undefined,
): { status?: number; signal?: NodeJS.Signals } {
  return { ...(status != null ? { status } : {}), ...(signal != null ? { signal } : {}) };
}

/** The end of what a program said, short enough for a sentence; programs tell the reason last. */
function lastWords(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  const text = lines
    .filter((line) => line !== '')
    .slice(-3)
    .join('; ');
  return text.length > 400 ? `…${text.slice(-400)}` : text;
}
