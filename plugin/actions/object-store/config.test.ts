import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readConfig } from './config.ts';
import { findCredentials } from './credentials.ts';
import { cutIntoParts } from './parts.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plugin-config-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

describe('the configuration of a BackupStorageLocation', () => {
  test('has the AWS plugin’s defaults', () => {
    const config = readConfig({ bucket: 'b', prefix: 'p' });
    expect(config.endpoint.href).toBe('https://s3.amazonaws.com/');
    expect(config).toMatchObject({ region: undefined, pathStyle: false, verifyCertificate: true });
    expect(config).toMatchObject({ checksum: 'CRC32', profile: 'default', newObjectHeaders: {} });
  });

  test('has the AWS plugin’s keys', () => {
    const config = readConfig({
      ...{ region: 'minio', s3Url: 'http://127.0.0.1:9000', publicUrl: 'https://s3.example.org' },
      ...{
        s3ForcePathStyle: 'true',
        insecureSkipTLSVerify: 'True',
        checksumAlgorithm: '',
        signatureVersion: '4',
      },
      ...{ profile: 'x', kmsKeyId: 'k', serverSideEncryption: 'AES256', tagging: 'a=1&b=two words' },
    });
    expect(config.endpoint.host).toBe('127.0.0.1:9000');
    expect(config.publicEndpoint.host).toBe('s3.example.org');
    expect(config).toMatchObject({ pathStyle: true, verifyCertificate: false, checksum: undefined });
    expect(config.newObjectHeaders).toEqual({
      'x-amz-tagging': 'a=1&b=two+words',
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-aws-kms-key-id': 'k',
    });
  });

  test.each([
    [
      { bukcet: 'b', region: 'r' },
      /^the BackupStorageLocation's config has "bukcet", which is not among the known keys: /,
    ],
    [{ s3Url: 'minio:9000' }, /s3Url "minio:9000", and it has to be http/],
    [{ s3Url: 'http://minio/path' }, /without a path$/],
    [{ s3ForcePathStyle: 'yes' }, /s3ForcePathStyle "yes", and it has to be true or false/],
    [
      { checksumAlgorithm: 'MD5' },
      /checksumAlgorithm "MD5", and it has to be CRC32, CRC32C, SHA1, SHA256 or empty/,
    ],
    [{ signatureVersion: '2' }, /signatureVersion "2"/],
    [{ tagging: 'a' }, /tagging "a", and it has to be KEY=VALUE/],
    [{ customerKeyEncryptionFile: '/nowhere' }, /^read customerKeyEncryptionFile: .*ENOENT/],
    [{ customerKeyEncryptionSecret: 's/k' }, /set customerKeyEncryptionFile/],
  ])('says what is wrong with %j', (config, message) => {
    expect(() => readConfig(config)).toThrow(message);
  });

  test('a customer’s key has 32 bytes', async () => {
    const short = await file('short', 'abc');
    expect(() => readConfig({ customerKeyEncryptionFile: short })).toThrow(/has 3 bytes/);
  });
});

describe('credentials', () => {
  const INI =
    '# a comment\n[default]\naws_access_key_id = A\naws_secret_access_key=s=1\n\n[other]\naws_access_key_id=B\naws_secret_access_key=t\naws_session_token = u\n';
  const none = { HOME: '/nowhere' };

  test('the location’s file comes before everything else', async () => {
    const credentialsFile = await file('cloud', INI);
    const env = { AWS_ACCESS_KEY_ID: 'E', AWS_SECRET_ACCESS_KEY: 'e' };
    expect(await findCredentials(readConfig({ credentialsFile }), env)).toEqual({
      accessKey: 'A',
      secretKey: 's=1',
    });
    const other = readConfig({ credentialsFile, profile: 'other' });
    expect(await findCredentials(other, none)).toEqual({ accessKey: 'B', secretKey: 't', sessionToken: 'u' });
    const missing = findCredentials(readConfig({ credentialsFile, profile: 'third' }), env);
    await expect(missing).rejects.toThrow(/has no keys for profile third$/);
  });

  test('then the environment, a web identity, and the shared file', async () => {
    const AWS_SHARED_CREDENTIALS_FILE = await file('shared', INI);
    const config = readConfig({});
    const env = { AWS_ACCESS_KEY_ID: 'E', AWS_SECRET_ACCESS_KEY: 'e', AWS_SHARED_CREDENTIALS_FILE };
    expect(await findCredentials(config, env)).toEqual({ accessKey: 'E', secretKey: 'e' });
    const role = { AWS_WEB_IDENTITY_TOKEN_FILE: '/t', AWS_ROLE_ARN: 'arn', AWS_SHARED_CREDENTIALS_FILE };
    expect(await findCredentials(config, role)).toBe('web-identity');
    expect(await findCredentials(config, { AWS_SHARED_CREDENTIALS_FILE })).toMatchObject({ accessKey: 'A' });
  });

  test('the config file counts when it is enabled', async () => {
    const AWS_CONFIG_FILE = await file('config', INI.replace('[other]', '[profile other]'));
    const env = { AWS_SHARED_CREDENTIALS_FILE: '/nowhere', AWS_CONFIG_FILE };
    const enabled = readConfig({ enableSharedConfig: 'true', profile: 'other' });
    expect(await findCredentials(enabled, env)).toMatchObject({ accessKey: 'B' });
    const disabled = findCredentials(readConfig({ profile: 'other' }), env);
    await expect(disabled).rejects.toThrow(
      /^there are no S3 credentials for profile other in \/nowhere, .* set the credential/,
    );
  });
});

describe('parts of an upload', () => {
  async function* chunks(count: number, size: number): AsyncGenerator<Buffer> {
    for (let n = 0; n < count; n++) yield Buffer.alloc(size, n);
  }
  const MIB = 1 << 20;

  test.each([
    [0, 0, [0]],
    [1, 100, [100]],
    [8, MIB, [8 * MIB]],
    [9, MIB, [8 * MIB, MIB]],
    [1, 20 * MIB, [8 * MIB, 8 * MIB, 4 * MIB]],
  ])('%d chunks of %d bytes', async (count, size, wanted) => {
    const parts = await Array.fromAsync(cutIntoParts(chunks(count, size)));
    expect(parts.map(({ body }) => body.length)).toEqual(wanted);
    expect(parts.map(({ number }) => number)).toEqual(wanted.map((_, n) => n + 1));
    expect(parts.map(({ last }) => last)).toEqual(wanted.map((_, n) => n === wanted.length - 1));
    const whole = Buffer.concat(await Array.fromAsync(chunks(count, size)));
    expect(Buffer.concat(parts.map(({ body }) => body)).equals(whole)).toBe(true);
  });
});
