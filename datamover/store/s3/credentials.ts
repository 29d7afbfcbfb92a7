import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { DatamoverError, isErrno } from '../../errors.ts';
import type { Credentials } from './signature.ts';

/** Environment variables by name, as restic and the AWS tools name them. */
export type Environment = Readonly<Record<string, string | undefined>>;

interface Source {
  /** What a message calls it, and the names of the three values in it. */
  readonly where: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken: string;
  readonly values: Environment;
}

const HINT =
  'keys for the bucket come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a file named by AWS_SHARED_CREDENTIALS_FILE';

/**
 * The keys for a bucket: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, else those of the profile AWS_PROFILE
 * (`default`) in the file AWS_SHARED_CREDENTIALS_FILE (`~/.aws/credentials`). Throws a usage error that shows no key.
 */
export function credentialsFrom(env: Environment, subject: string): Credentials {
  const source = environmentOf(env) ?? fileOf(env, subject);
  if (source === undefined) throw unusable(subject, 'AWS_ACCESS_KEY_ID is not set');
  const { accessKey, secretKey, sessionToken, values } = source;
  const keys = { accessKey: keyOf(source, accessKey, subject), secretKey: keyOf(source, secretKey, subject) };
  if (given(values, sessionToken) === undefined) return keys;
  return { ...keys, sessionToken: keyOf(source, sessionToken, subject) };
}

/** An empty variable counts as none, as with the AWS tools. */
export function given(env: Environment, name: string): string | undefined {
  const value = env[name];
  return value === '' ? undefined : value;
}

function environmentOf(env: Environment): Source | undefined {
  const names = {
    accessKey: 'AWS_ACCESS_KEY_ID',
    secretKey: 'AWS_SECRET_ACCESS_KEY',
    sessionToken: 'AWS_SESSION_TOKEN',
  };
  const any = given(env, names.accessKey) ?? given(env, names.secretKey);
  return any === undefined ? undefined : { where: '', ...names, values: env };
}

function fileOf(env: Environment, subject: string): Source | undefined {
  const named = given(env, 'AWS_SHARED_CREDENTIALS_FILE');
  const home = given(env, 'HOME');
  const path = named ?? (home === undefined ? undefined : join(home, '.aws', 'credentials'));
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (named === undefined && isErrno(error, 'ENOENT')) return undefined;
    throw new DatamoverError({
      operation: 'read keys for the bucket from',
      subject: path,
      cause: error,
      kind: 'usage',
    });
  }
  const profile = given(env, 'AWS_PROFILE') ?? 'default';
  const values = readProfile(text, profile);
  if (values === undefined) throw unusable(subject, `there is no profile [${profile}] in ${path}`);
  return {
    where: ` in [${profile}] of ${path}`,
    accessKey: 'aws_access_key_id',
    secretKey: 'aws_secret_access_key',
    sessionToken: 'aws_session_token',
    values,
  };
}

/** The lines `name = value` below `[profile]`. */
function readProfile(text: string, profile: string): Environment | undefined {
  let values: Record<string, string> | undefined;
  let within = false;
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(.*?)\s*\]\s*$/.exec(line)?.[1];
    if (section !== undefined) within = section === profile;
    if (!within) continue;
    values ??= {};
    const [, name, value] = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) values[name.toLowerCase()] = value;
  }
  return values;
}

/** A key with a space or a line end in it was copied wrongly, and no server could say so as clearly. */
function keyOf({ values, where }: Source, name: string, subject: string): string {
  const value = given(values, name);
  if (value === undefined) throw unusable(subject, `${name} is not set${where}`);
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw unusable(subject, `${name}${where} holds a space, a line end or another odd character`);
}

function unusable(subject: string, cause: string): DatamoverError {
  return new DatamoverError({ operation: 'open', subject, cause, hint: HINT, kind: 'usage' });
}
