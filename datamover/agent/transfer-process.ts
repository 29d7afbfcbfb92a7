import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { REASONS } from '../../api/names.ts';
import { DatamoverError, failureKindOf } from '../errors.ts';
import { leaseTimes, tellLease, type LeaseTerm } from '../process/lease-line.ts';
import { watchLingering } from '../process/lingering.ts';
import { watchMemory } from '../process/memory-cap.ts';
import { commandFailure, start, type Running } from '../process/spawn.ts';
import { reasonOf, TransferFailure } from './reasons.ts';

/** A transfer as a process of its own: the `datamover` command with `--json`. */
export interface TransferRequest {
  /** What is being done to what, for messages: `back up`, `shop/db`. */
  readonly operation: string;
  readonly subject: string;
  /** The verb and its arguments. Nothing secret: arguments are seen by everybody on the node. */
  readonly args: readonly string[];
  /** The repository, its password and the credentials of the store; paths of keyrings. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Resident bytes at which the transfer is ended, so that it does not take the agent or the node with it. */
  readonly memoryLimitBytes: number;
  readonly onProgress?: (progress: TransferProgress) => void;
  /** What the reader should know, whether it failed or not; told at its end. */
  readonly onNote?: (message: string) => void;
  readonly onStart?: (pid: number) => void;
  /** It was to end and has not for a long time: what is wrong and what helps. */
  readonly onLingering?: (message: string) => void;
  readonly signal?: AbortSignal;
  /** The lease under which it is carried: the child ends itself before it has run out, whatever became of us. */
  readonly lease?: () => LeaseTerm;
  /** The script that is run; the `datamover` command without it. */
  readonly command?: string | undefined;
}

/** Bytes of the volume so far; `totalBytes` once it is known. */
export interface TransferProgress {
  readonly bytesDone: number;
  readonly totalBytes?: number;
  readonly bytesPerSecond: number;
  /** While what a backup keeps of its base is stored anew. */
  readonly bytesStoredAgain?: number;
  /** While a restored volume is read back. */
  readonly bytesVerified?: number;
}

/** One JSON line of the command, as docs/cli.md describes them. */
export type Message = Readonly<Record<string, unknown>>;

/** How the command is started: the Node that runs this, and the compiled command beside it. */
const COMMAND = fileURLToPath(new URL('../cli/main.js', import.meta.url));
/** glibc's thresholds and a small young generation, as bin/datamover sets them. */
const NODE_ARGS = ['--max-semi-space-size=1'];
const MALLOC = { MALLOC_TRIM_THRESHOLD_: '134217728', MALLOC_MMAP_THRESHOLD_: '33554432' };

/**
 * Runs the transfer to its end and gives the summary that the command prints. The child ends with this process, with `signal`
 * (in order, then by force), and when it outgrows its memory; what it has uploaded is used by the next attempt.
 */
export async function runTransfer(request: TransferRequest): Promise<Message> {
  const limit = new AbortController();
  const signal = AbortSignal.any([limit.signal, ...(request.signal === undefined ? [] : [request.signal])]);
  const line = new PassThrough();
  const child = await start({
    file: process.execPath,
    args: [...NODE_ARGS, request.command ?? COMMAND, '--json', ...request.args],
    env: {
      ...MALLOC,
      ...request.env,
      DATAMOVER_FOLLOW_PARENT: String(process.pid),
      ...(request.lease && { DATAMOVER_FOLLOW_LEASE: leaseTimes(request.lease()) }),
    },
    input: line,
    operation: request.operation,
    subject: request.subject,
    signal,
  });
  request.onStart?.(child.pid);
  const unwatch = watchMemory(child.pid, request.memoryLimitBytes, (cause) => {
    const hint = 'raise --child-memory of the agent; what is uploaded is used again';
    limit.abort(new TransferFailure({ ...naming(request), cause, hint, reason: REASONS.transferFailed }));
  });
  const untie = request.lease === undefined ? () => line.end() : tellLease(line, request.lease);
  const settled = watchLingering(child.pid, signal, (cause) => {
    const hint =
      'look what the storage of its node does not answer; nobody else carries the transfer until the process has ended or the node is booted';
    request.onLingering?.(new DatamoverError({ ...naming(request), cause, hint }).message);
  });
  try {
    const [summary, { stderr }] = await Promise.all([readLines(child, request), child.finished]);
    tellNotes(stderr, request);
    if (summary !== undefined) return summary;
    throw new TransferFailure({
      ...naming(request),
      cause: 'the transfer ended without a summary',
      reason: REASONS.error,
    });
  } catch (error) {
    if (limit.signal.aborted) throw limit.signal.reason;
    throw explain(error, request);
  } finally {
    unwatch();
    await child.stop();
    settled();
    untie();
  }
}

async function readLines(child: Running, { onProgress }: TransferRequest): Promise<Message | undefined> {
  let summary: Message | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    const message = parse(line);
    if (message?.['message_type'] === 'summary') summary = message;
    else if (message?.['message_type'] === 'status') onProgress?.(progressOf(message));
  }
  return summary;
}

function progressOf(status: Message): TransferProgress {
  const number = (name: string): number => (typeof status[name] === 'number' ? status[name] : 0);
  return {
    bytesDone: Math.max(number('bytes_done'), number('bytes_restored')),
    bytesPerSecond: number('bytes_per_second'),
    ...(typeof status['total_bytes'] === 'number' ? { totalBytes: status['total_bytes'] } : {}),
    ...(typeof status['bytes_stored_again'] === 'number'
      ? { bytesStoredAgain: status['bytes_stored_again'] }
      : {}),
    ...(typeof status['bytes_verified'] === 'number' ? { bytesVerified: status['bytes_verified'] } : {}),
  };
}

/** The messages of one type among the lines that the command wrote on standard error. */
function said(stderr: string, type: string): Message[] {
  return stderr.split('\n').flatMap((line) => {
    const message = parse(line);
    return message?.['message_type'] === type ? [message] : [];
  });
}

function parse(line: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null
      ? Object.fromEntries(Object.entries(value))
      : undefined;
  } catch {
    return undefined;
  }
}

/** The command's own sentence, which says more than its exit status. */
function explain(error: unknown, request: TransferRequest): unknown {
  const failure = commandFailure(error);
  if (failure === undefined) return error;
  tellNotes(failure.stderr, request);
  const last = said(failure.stderr, 'exit_error').at(-1);
  if (last !== undefined) {
    const told = last['kind'];
    const kind =
      told === 'target-too-small' || told === 'target-in-use' ? told : failureKindOf(failure.status);
    const retryable = last['retryable'] === true;
    return new TransferFailure({
      ...naming(request),
      cause: String(last['message']),
      doing: last['operation'],
      kind,
      reason: reasonOf({ kind, retryable, operation: last['operation'], store: last['store'] }),
    });
  }
  // Killed, by the kernel for want of memory or by somebody: another attempt may end well.
  const reason = failure.status === undefined ? REASONS.transferFailed : REASONS.error;
  return new TransferFailure({ ...naming(request), cause: failure, reason });
}

function tellNotes(stderr: string, { onNote }: TransferRequest): void {
  for (const { message } of said(stderr, 'note')) onNote?.(String(message));
}

function naming({ operation, subject }: TransferRequest): { operation: string; subject: string } {
  return { operation, subject };
}
