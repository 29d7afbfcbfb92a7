import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { S3Config } from './config.ts';

export interface AccessKeys {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken?: string;
}

/** Keys, or a role that the pod's web identity token (IRSA) is exchanged for. */
export type Credentials = AccessKeys | 'web-identity';

/**
 * Where keys come from, the first that is there: the location's credentials file, AWS_ACCESS_KEY_ID and its kin, a web identity token, the
 * shared credentials file (Velero's pod has it in AWS_SHARED_CREDENTIALS_FILE), the shared config file if it counts.
 */
export async function findCredentials(
  config: S3Config,
  env: Readonly<NodeJS.ProcessEnv>,
): Promise<Credentials> {
  const { profile } = config;
  if (config.credentialsFile !== undefined) {
    const keys = keysOf(await readSections(config.credentialsFile), profile);
    if (keys !== undefined) return keys;
    throw new Error(`the credentials file ${config.credentialsFile} has no keys for profile ${profile}`);
  }
  const { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey, AWS_SESSION_TOKEN } = env;
  if (accessKey !== undefined && secretKey !== undefined && accessKey !== '' && secretKey !== '') {
    return { accessKey, secretKey, ...(AWS_SESSION_TOKEN ? { sessionToken: AWS_SESSION_TOKEN } : {}) };
  }
  if (env['AWS_WEB_IDENTITY_TOKEN_FILE'] && env['AWS_ROLE_ARN']) return 'web-identity';
  const home = join(homedir(), '.aws');
  const files = [
    env['AWS_SHARED_CREDENTIALS_FILE'] ?? join(home, 'credentials'),
    ...(config.sharedConfig ? [env['AWS_CONFIG_FILE'] ?? join(home, 'config')] : []),
  ];
  for (const file of files) {
    const sections = await readSections(file).catch(() => undefined);
    const keys = sections === undefined ? undefined : keysOf(sections, profile);
    if (keys !== undefined) return keys;
  }
  throw new Error(
    `there are no S3 credentials for profile ${profile} in ${files.join(' or ')}, in the environment or as a web identity: ` +
      'set the credential of the BackupStorageLocation',
  );
}

type Sections = ReadonlyMap<string, ReadonlyMap<string, string>>;

function keysOf(sections: Sections, profile: string): AccessKeys | undefined {
  // The config file writes `[profile NAME]` where the credentials file writes `[NAME]`.
  const section = sections.get(profile) ?? sections.get(`profile ${profile}`);
  const accessKey = section?.get('aws_access_key_id');
  const secretKey = section?.get('aws_secret_access_key');
  if (accessKey === undefined || secretKey === undefined) return undefined;
  const sessionToken = section?.get('aws_session_token');
  return { accessKey, secretKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

/** The AWS tools' INI files: `[section]`, `key = value`, comments with # or ;. */
async function readSections(file: string): Promise<Sections> {
  const sections = new Map<string, Map<string, string>>();
  let current = new Map<string, string>();
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new Error(`read the credentials file: ${String(error)}`, { cause: error });
  });
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    if (line === '' || /^[#;]/.test(line)) continue;
    const name = /^\[(.+)\]$/.exec(line)?.[1]?.trim();
    const [, key, value] = /^([^=]+?)\s*=\s*(.*)$/.exec(line) ?? [];
    if (name !== undefined) {
      current = sections.get(name) ?? new Map<string, string>();
      sections.set(name, current);
    } else if (key !== undefined && value !== undefined) current.set(key, value);
  }
  return sections;
}
