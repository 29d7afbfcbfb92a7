import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * A BackupStorageLocation's `config`, with the keys of velero-plugin-for-aws (v1.14, backupstoragelocation.md), and what Velero adds:
 * `bucket`, `prefix` (already part of every key), `caCert`, `credentialsFile`.
 */
export interface S3Config {
  readonly region: string | undefined;
  readonly endpoint: URL;
  /** In signed URLs, which leave the cluster. */
  readonly publicEndpoint: URL;
  readonly pathStyle: boolean;
  readonly verifyCertificate: boolean;
  /** PEM of the authorities to trust beside Node's own. */
  readonly caCert: string | undefined;
  readonly credentialsFile: string | undefined;
  readonly profile: string;
  /** Whether the AWS config file counts beside the credentials file. */
  readonly sharedConfig: boolean;
  readonly checksum: ChecksumAlgorithm | undefined;
  /** Sent with every new object. */
  readonly newObjectHeaders: Readonly<Record<string, string>>;
  /** Sent with every request for an object's bytes: the customer's own key. */
  readonly customerKeyHeaders: Readonly<Record<string, string>>;
}

const CHECKSUMS = ['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUMS)[number];

const KNOWN_KEYS = [
  ...['region', 's3Url', 'publicUrl', 's3ForcePathStyle', 'insecureSkipTLSVerify', 'caCert'],
  ...['credentialsFile', 'profile', 'enableSharedConfig', 'signatureVersion', 'checksumAlgorithm', 'tagging'],
  ...['serverSideEncryption', 'kmsKeyId', 'customerKeyEncryptionFile', 'customerKeyEncryptionSecret'],
  ...['bucket', 'prefix'],
];

/** Reads and checks the whole configuration. Throws one sentence that names the key. */
export function readConfig(config: Readonly<Record<string, string>>): S3Config {
  const unknown = Object.keys(config).filter((key) => !KNOWN_KEYS.includes(key));
  if (unknown.length > 0) {
    throw new Error(
      `the BackupStorageLocation's config has ${unknown.map((key) => `"${key}"`).join(', ')}, which is not among ` +
        `the known keys: ${KNOWN_KEYS.join(', ')}`,
    );
  }
  const given = (key: string): string | undefined => (config[key] === '' ? undefined : config[key]);
  const endpoint = readUrl('s3Url', given('s3Url') ?? 'https://s3.amazonaws.com');
  const publicUrl = given('publicUrl');
  const version = given('signatureVersion') ?? '4';
  if (version !== '1' && version !== '4') throw invalid('signatureVersion', version, '4');
  if (given('customerKeyEncryptionSecret') !== undefined) {
    throw new Error(
      'customerKeyEncryptionSecret is not supported: mount the key and set customerKeyEncryptionFile',
    );
  }
  return {
    region: given('region'),
    endpoint,
    publicEndpoint: publicUrl === undefined ? endpoint : readUrl('publicUrl', publicUrl),
    pathStyle: readBoolean('s3ForcePathStyle', given('s3ForcePathStyle')),
    verifyCertificate: !readBoolean('insecureSkipTLSVerify', given('insecureSkipTLSVerify')),
    caCert: given('caCert'),
    credentialsFile: given('credentialsFile'),
    profile: given('profile') ?? 'default',
    sharedConfig: readBoolean('enableSharedConfig', given('enableSharedConfig')),
    checksum: readChecksum(config['checksumAlgorithm']),
    newObjectHeaders: { ...readTagging(given('tagging')), ...readEncryption(given) },
    customerKeyHeaders: readCustomerKey(given('customerKeyEncryptionFile')),
  };
}

function readUrl(key: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.username !== '') {
    throw invalid(key, text, 'http://HOST[:PORT] or https://HOST[:PORT] without a path');
  }
  return url;
}

/** Go's strconv.ParseBool, with which the AWS plugin reads. */
function readBoolean(key: string, text = 'false'): boolean {
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw invalid(key, text, 'true or false');
}

/** CRC32 without the key; an empty value turns checksums off, for servers that refuse their headers. */
function readChecksum(text = 'CRC32'): ChecksumAlgorithm | undefined {
  if (text === '') return undefined;
  const known = CHECKSUMS.find((name) => name === text);
  if (known === undefined) throw invalid('checksumAlgorithm', text, `${CHECKSUMS.join(', ')} or empty`);
  return known;
}

function readTagging(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  const tags = text.split('&').map((tag) => tag.split('='));
  if (tags.some((tag) => tag.length !== 2 || tag[0] === ''))
    throw invalid('tagging', text, 'KEY=VALUE&KEY=VALUE');
  return { 'x-amz-tagging': new URLSearchParams(text).toString() };
}

/** A KMS key means KMS; without one, the algorithm that is named. */
function readEncryption(given: (key: string) => string | undefined): Record<string, string> {
  const kmsKeyId = given('kmsKeyId');
  const algorithm = given('serverSideEncryption');
  const name = 'x-amz-server-side-encryption';
  if (kmsKeyId !== undefined) return { [name]: 'aws:kms', [`${name}-aws-kms-key-id`]: kmsKeyId };
  return algorithm === undefined ? {} : { [name]: algorithm };
}

/** SSE-C: the file holds a key of 32 bytes. */
function readCustomerKey(file: string | undefined): Record<string, string> {
  if (file === undefined) return {};
  let key: Buffer;
  try {
    key = readFileSync(file);
  } catch (error) {
    throw new Error(`read customerKeyEncryptionFile: ${String(error)}`, { cause: error });
  }
  if (key.length !== 32) {
    throw new Error(
      `customerKeyEncryptionFile ${file} has ${key.length} bytes, and a key for AES-256 has 32`,
    );
  }
  const name = 'x-amz-server-side-encryption-customer';
  return {
    [`${name}-algorithm`]: 'AES256',
    [`${name}-key`]: key.toString('base64'),
    [`${name}-key-md5`]: createHash('md5').update(key).digest('base64'),
  };
}

function invalid(key: string, value: string, wanted: string): Error {
  return new Error(`the BackupStorageLocation's config has ${key} "${value}", and it has to be ${wanted}`);
}
