import { DatamoverError } from '../../errors.ts';
import { commandFailure, run, type Command } from '../../process/spawn.ts';
import type { ProducerCommand } from '../driver.ts';

/** What is asked of `zfs`. Names in `args` have gone through name.ts. */
export interface ZfsRequest {
  /** A verb phrase for messages: `hold ZFS snapshot`. */
  readonly operation: string;
  readonly subject: string;
  readonly args: readonly string[];
  readonly input?: Command['input'];
  readonly signal?: AbortSignal;
}

/** Runs `zfs` and gives what it prints. */
export async function runZfs({ operation, subject, args, input, signal }: ZfsRequest): Promise<string> {
  const naming = { operation, subject };
  const command = {
    ...{ file: 'zfs', args, env: { LC_ALL: 'C' }, ...naming },
    ...(input !== undefined && { input }),
    ...(signal !== undefined && { signal }),
  };
  return run(command).then(
    ({ stdout }) => stdout,
    (error: unknown) => {
      const failure = commandFailure(error);
      const hint = failure && hintFor(failure.stderr);
      throw hint === undefined ? error : new DatamoverError({ ...naming, cause: failure, hint });
    },
  );
}

/** Runs `zfs` and gives the cells of the table that `-H` prints. */
export async function askZfs(request: ZfsRequest): Promise<string[][]> {
  return tableOf(await runZfs(request));
}

export function tableOf(printed: string): string[][] {
  const lines = printed.split('\n');
  return lines.filter((line) => line !== '').map((line) => line.split('\t'));
}

/** A full send of a snapshot, or of what changed since `from` (a snapshot or bookmark, with its dataset). */
export function sendCommand(
  snapshot: string,
  from: string | undefined,
  flags: readonly string[],
): ProducerCommand {
  const increment = from === undefined ? [] : ['-i', from];
  return { file: 'zfs', args: ['send', ...flags, ...increment, snapshot] };
}

/** Bytes that `zfs send` expects to write: an estimate that may be a little low, and high for small increments; undefined where it tells none. */
export async function estimateSend(
  command: ProducerCommand,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const [send = '', ...args] = command.args;
  const rows = await askZfs({
    operation: 'estimate zfs send of',
    subject: args.at(-1) ?? '',
    args: [send, '-nvP', ...args],
    ...(signal !== undefined && { signal }),
  });
  const bytes = Number(rows.find(([word]) => word === 'size')?.[1]);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

function hintFor(said: string): string | undefined {
  if (said.includes('does not exist')) return 'zfs list -t all shows what there is';
  if (said.includes('permission denied') || said.includes('Permission denied'))
    return 'grant it with zfs allow (docs/drivers.md), or run as root';
  if (said.includes('/dev/zfs')) return 'load the ZFS kernel module, or give the container /dev/zfs';
  if (said.includes('out of space')) return 'free space in the pool, raise the quota, or choose another pool';
  if (said.includes('is busy')) return 'unmount it and stop what uses it';
  return undefined;
}
