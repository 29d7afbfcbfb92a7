import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { DatamoverError } from '../errors.ts';
import { formatLocation, openStore, parseLocation } from './location.ts';
import { MemoryStore } from './memory.ts';

const KEYS = { AWS_ACCESS_KEY_ID: 'the-access-key', AWS_SECRET_ACCESS_KEY: 'the-secret-key' };

function s3(secure: boolean, host: string, port: number, bucket: string, prefix: string): object {
  return { kind: 's3', secure, host, port, bucket, prefix };
}

function usageError(call: () => unknown): DatamoverError {
  try {
    call();
  } catch (error) {
    if (error instanceof DatamoverError && error.kind === 'usage') return error;
  }
  throw new Error('this should have been a usage error');
}

describe('parseLocation reads what restic reads', () => {
  test.each([
    ['s3:https://host/bucket/prefix', s3(true, 'host', 443, 'bucket', 'prefix')],
    ['s3:host/bucket', s3(true, 'host', 443, 'bucket', '')],
    ['s3:host:9000/bucket/a/b/', s3(true, 'host', 9000, 'bucket', 'a/b')],
    ['s3://host/bucket', s3(true, 'host', 443, 'bucket', '')],
    ['s3:http://127.0.0.1:9000/bucket', s3(false, '127.0.0.1', 9000, 'bucket', '')],
    ['s3:http://host/bucket//a', s3(false, 'host', 80, 'bucket', 'a')],
    ['s3:https://[::1]:9000/bucket', s3(true, '::1', 9000, 'bucket', '')],
    ['s3:s3.amazonaws.com/bucket', s3(true, 's3.amazonaws.com', 443, 'bucket', '')],
    ['s3:https://host/bucket/a b/%C3%A9', s3(true, 'host', 443, 'bucket', 'a b/é')],
    ['/srv/repository', { kind: 'local', path: '/srv/repository' }],
    ['repository', { kind: 'local', path: 'repository' }],
    ['./with:colon', { kind: 'local', path: './with:colon' }],
    ['local:/srv/with:colon', { kind: 'local', path: '/srv/with:colon' }],
    ['local:s3:x', { kind: 'local', path: 's3:x' }],
  ])('%s', (text, location) => {
    expect(parseLocation(text)).toEqual(location);
  });

  test.each([
    ['', /the path is empty/],
    ['local:', /the path is empty/],
    ['s3:', /no host/],
    ['s3:host', /no bucket/],
    ['s3:https://host/', /no bucket.*s3:https:\/\/host\/bucket\/prefix/],
    ['s3:https://host/bucket?x=1', /\? and #/],
    ['s3:https://host/bucket/%zz', /%/],
    ['sftp:user@host:/srv', /restic's sftp backend is not supported/],
    ['rest:http://host/', /restic's rest backend is not supported/],
    ['foo:bar', /foo: is not known.*local:/],
  ])('%s is refused in one sentence', (text, message) => {
    expect(usageError(() => parseLocation(text)).message).toMatch(message);
  });

  test('credentials in a location are refused and not repeated', () => {
    const { message } = usageError(() => parseLocation('s3:https://someone:sesame@host/bucket'));
    expect(message).toMatch(/holds credentials.*AWS_ACCESS_KEY_ID/);
    expect(message).not.toMatch(/someone|sesame/);
  });

  test('formatLocation writes what parseLocation reads', () => {
    const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{2,20}$/);
    const place = fc.record({
      secure: fc.boolean(),
      host: fc.oneof(fc.domain(), fc.ipV4(), fc.constant('::1'), fc.constant('localhost')),
      port: fc.integer({ min: 1, max: 65_535 }),
      bucket: name,
      prefix: fc.array(name, { maxLength: 3 }).map((parts) => parts.join('/')),
    });
    fc.assert(
      fc.property(place, (address) => {
        const location = { kind: 's3' as const, ...address };
        expect(parseLocation(formatLocation(location))).toEqual(location);
      }),
    );
  });
});

describe('openStore', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'location-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('opens a folder without any environment', async () => {
    const store = await openStore(join(folder, 'repository'), {});
    await store.create();
    await store.save({ type: 'config', name: '' }, Buffer.from('x'));
    expect((await store.load({ type: 'config', name: '' })).length).toBe(1);
    expect(store.location).toBe(join(folder, 'repository'));
    expect(store).not.toBeInstanceOf(MemoryStore);
  });

  test('the location of an S3 store shows no keys', async () => {
    const store = await openStore('s3:http://host:9000/bucket/prefix', {
      ...KEYS,
      AWS_SESSION_TOKEN: 'the-token',
    });
    expect(store.location).toBe('s3:http://host:9000/bucket/prefix');
    expect(JSON.stringify(store)).not.toMatch(/the-/);
  });

  test('certificates that cannot be read or are none are named', async () => {
    const other = join(folder, 'other.pem');
    await writeFile(other, 'hello');
    const open = (env: Record<string, string>) => openStore('s3:https://host/bucket', { ...KEYS, ...env });
    await expect(open({ AWS_CA_BUNDLE: join(folder, 'none.pem') })).rejects.toThrow(
      /none\.pem.*no such file/,
    );
    await expect(open({ RESTIC_CACERT: other })).rejects.toThrow(/other\.pem.*no certificate/);
  });
});
