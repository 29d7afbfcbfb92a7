import { readFile } from 'node:fs/promises';
import { DatamoverError } from '../errors.ts';
import type { Compression } from '../repository/types.ts';

/** The options every verb takes, as commander parses them. */
export interface GlobalOptions {
  readonly repo?: string;
  readonly repositoryFile?: string;
  readonly passwordFile?: string;
  readonly passwordCommand?: string;
  readonly insecureNoPassword?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: number;
  /** False with --no-lock. */
  readonly lock?: boolean;
  /** Milliseconds. */
  readonly retryLock?: number;
  readonly cacert?: string;
  readonly option?: Readonly<Record<string, string>>;
  /** KiB a second; 0 is no limit. */
  readonly limitUpload?: number;
  readonly limitDownload?: number;
  readonly compression?: Compression;
}

/** Where a password may come from; the first that is set wins, options before the environment. */
export interface PasswordSources {
  readonly file?: string;
  readonly command?: string;
  readonly text?: string;
  readonly none?: boolean;
}

/** A pair of environment variable names, so that `copy` reads its second repository in the same way. */
export type EnvironmentPrefix = 'RESTIC_' | 'RESTIC_FROM_';

/** The repository's location: -r, --repository-file, or restic's environment variables. */
export async function repositoryLocation(
  options: Pick<GlobalOptions, 'repo' | 'repositoryFile'>,
  env: NodeJS.ProcessEnv,
  prefix: EnvironmentPrefix = 'RESTIC_',
): Promise<string> {
  const from = prefix === 'RESTIC_FROM_' ? 'from-' : '';
  if (options.repo !== undefined && options.repositoryFile !== undefined) {
    throw usage('find the repository', `--${from}repo and --${from}repository-file exclude each other`);
  }
  if (options.repo !== undefined) return options.repo;
  const file =
    options.repositoryFile ?? (set(env, `${prefix}REPOSITORY`) ? undefined : env[`${prefix}REPOSITORY_FILE`]);
  if (file !== undefined && file !== '') {
    const line = (await readText(file, 'read the repository file')).trim();
    if (line === '') throw usage('read the repository file', 'it is empty', file);
    return line;
  }
  const location = env[`${prefix}REPOSITORY`];
  if (location !== undefined && location !== '') return location;
  throw usage(
    'find the repository',
    'none was named',
    undefined,
    from === ''
      ? 'use -r LOCATION or RESTIC_REPOSITORY, for example -r /srv/repo or -r s3:https://host/bucket/prefix'
      : 'use --from-repo LOCATION or RESTIC_FROM_REPOSITORY',
  );
}

/** Puts together where the password may come from; two options at once are a mistake. */
export function passwordSources(
  options: Pick<GlobalOptions, 'passwordFile' | 'passwordCommand' | 'insecureNoPassword'>,
  env: NodeJS.ProcessEnv,
  prefix: EnvironmentPrefix = 'RESTIC_',
): PasswordSources {
  const given = [options.passwordFile, options.passwordCommand].filter((value) => value !== undefined);
  if (given.length + (options.insecureNoPassword === true ? 1 : 0) > 1) {
    throw usage(
      'read the password',
      '--password-file, --password-command and --insecure-no-password exclude each other',
    );
  }
  if (options.insecureNoPassword === true) return { none: true };
  if (options.passwordFile !== undefined) return { file: options.passwordFile };
  if (options.passwordCommand !== undefined) return { command: options.passwordCommand };
  const [command, file, text] = ['PASSWORD_COMMAND', 'PASSWORD_FILE', 'PASSWORD'].map(
    (name) => env[prefix + name],
  );
  if (command !== undefined && command !== '') return { command };
  if (file !== undefined && file !== '') return { file };
  return text === undefined || text === '' ? {} : { text };
}

/** Reads a small text file that the user named. */
export async function readText(path: string, operation: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new DatamoverError({ operation, subject: path, cause: error, kind: 'usage' });
  }
}

export function usage(operation: string, cause: string, subject?: string, hint?: string): DatamoverError {
  return new DatamoverError({
    operation,
    cause,
    kind: 'usage',
    ...(subject === undefined ? {} : { subject }),
    ...(hint === undefined ? {} : { hint }),
  });
}

function set(env: NodeJS.ProcessEnv, name: string): boolean {
  return env[name] !== undefined && env[name] !== '';
}
