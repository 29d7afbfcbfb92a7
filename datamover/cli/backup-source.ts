import type { BackupRequest } from '../transfer/backup-plan.ts';
import { volumeForms } from '../volumes/open-driver.ts';
import type { InputFormat } from './arguments.ts';
import { usage } from './settings.ts';
import { openStorage, refuseStorageFlags, type StorageFlags } from './storage-options.ts';

/** What tells where a backup's bytes come from, as commander parses it. */
export interface SourceFlags extends StorageFlags {
  readonly stdin?: boolean;
  readonly stdinCommand?: boolean;
  readonly as?: InputFormat;
  readonly base?: string;
}

const PIPED = {
  image: 'image-stream',
  zvol: 'zvol-stream',
  zfs: 'zfs-stream',
  'rbd-diff': 'rbd-diff',
  stream: 'stream',
} as const;

/** `words`: a volume on a storage, or after --stdin-command a program and its arguments. */
export function readSource(
  words: readonly string[],
  flags: SourceFlags,
  env: NodeJS.ProcessEnv,
): BackupRequest['source'] {
  if (flags.stdin !== true && flags.stdinCommand !== true) return onStorage(words, flags, env);
  const { stdin, stdinCommand, as } = flags;
  if (stdin === true && stdinCommand === true) {
    throw usage('backup', '--stdin and --stdin-command exclude each other');
  }
  refuseStorageFlags('backup', flags, stdin === true ? '--stdin' : '--stdin-command');
  if (flags.base !== undefined) {
    throw usage(
      'backup',
      '--base is for a volume on a storage',
      undefined,
      'a stream says itself what it builds on; --parent names the backup',
    );
  }
  if (as === undefined)
    throw usage(
      'backup',
      'the format is not given',
      undefined,
      'use --as image, zvol, zfs, rbd-diff or stream',
    );
  const kind = PIPED[as];
  if (stdin === true) {
    if (words.length > 0) throw usage('backup', `${words.join(' ')} does not go together with --stdin`);
    if (process.stdin.isTTY)
      throw usage('backup', 'standard input is a terminal', undefined, 'pipe a volume into it');
    return { kind, input: { kind: 'fd', fd: 0 } };
  }
  const [file, ...args] = words;
  if (file === undefined) throw usage('backup', '--stdin-command is not followed by a program');
  return { kind, input: { kind: 'command', file, args, inheritsSecrets: true } };
}

function onStorage(
  [url, ...more]: readonly string[],
  flags: SourceFlags,
  env: NodeJS.ProcessEnv,
): BackupRequest['source'] {
  if (url === undefined || more.length > 0) {
    throw usage(
      'backup',
      url === undefined ? 'there is nothing to back up' : 'one volume at a time',
      undefined,
      `name ${volumeForms()}, or use --stdin or --stdin-command`,
    );
  }
  if (flags.as !== undefined && flags.as !== 'image')
    throw usage('backup', `--as ${flags.as} is for --stdin and --stdin-command`);
  return { kind: 'driver', ...openStorage('backup', url, flags, env) };
}
