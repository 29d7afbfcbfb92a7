import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { DatamoverError } from '../../errors.ts';
import { credentialsFrom, type Environment } from './credentials.ts';

const KEYS = { AWS_ACCESS_KEY_ID: 'the-access-key', AWS_SECRET_ACCESS_KEY: 'the-secret-key' };
const FILE = `# comment
[default]
aws_access_key_id = file-access
aws_secret_access_key=file/secret+=
region = eu-central-1

[ other ]
  AWS_ACCESS_KEY_ID = other-access
  aws_secret_access_key = other-secret
  aws_session_token = other-token==
[empty]
[broken]
aws_access_key_id = a b
aws_secret_access_key = c
`;

let home: string;
let path: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'credentials-'));
  path = join(home, '.aws', 'credentials');
  await mkdir(join(home, '.aws'));
  await writeFile(path, FILE);
});
afterAll(() => rm(home, { recursive: true }));

function usageError(env: Environment): string {
  try {
    credentialsFrom(env, 's3:https://host/bucket');
  } catch (error) {
    if (error instanceof DatamoverError && error.kind === 'usage') return error.message;
  }
  throw new Error('this should have been a usage error');
}

test('the environment comes first', () => {
  const keys = { accessKey: 'the-access-key', secretKey: 'the-secret-key' };
  expect(credentialsFrom({ ...KEYS, AWS_SESSION_TOKEN: '' }, '')).toEqual(keys);
  expect(credentialsFrom({ ...KEYS, HOME: home, AWS_SESSION_TOKEN: 't' }, '')).toEqual({
    ...keys,
    sessionToken: 't',
  });
});

test('then the file, by profile', () => {
  const standard = { accessKey: 'file-access', secretKey: 'file/secret+=' };
  const other = { accessKey: 'other-access', secretKey: 'other-secret', sessionToken: 'other-token==' };
  expect(credentialsFrom({ HOME: home }, '')).toEqual(standard);
  expect(credentialsFrom({ AWS_SHARED_CREDENTIALS_FILE: path, HOME: '/nowhere' }, '')).toEqual(standard);
  expect(credentialsFrom({ AWS_SHARED_CREDENTIALS_FILE: path, AWS_PROFILE: 'other' }, '')).toEqual(other);
});

test.each([
  [{}, /^open s3:https:\/\/host\/bucket: AWS_ACCESS_KEY_ID is not set \(keys for the bucket come from/],
  [{ HOME: '/nowhere' }, /AWS_ACCESS_KEY_ID is not set/],
  [{ AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: 'x' }, /AWS_ACCESS_KEY_ID is not set/],
  [{ AWS_ACCESS_KEY_ID: 'x' }, /AWS_SECRET_ACCESS_KEY is not set/],
  [{ ...KEYS, AWS_SECRET_ACCESS_KEY: 'sesame\n' }, /AWS_SECRET_ACCESS_KEY holds a space, a line end/],
  [{ ...KEYS, AWS_SESSION_TOKEN: 'sesame open' }, /AWS_SESSION_TOKEN holds a space, a line end/],
])('%j is refused without showing a key', (env, message) => {
  expect(usageError(env)).toMatch(message);
  expect(usageError(env)).not.toMatch(/sesame/);
});

test('a file that is named must be there and hold the profile with both keys', () => {
  const named = { AWS_SHARED_CREDENTIALS_FILE: path };
  expect(usageError({ AWS_SHARED_CREDENTIALS_FILE: join(home, 'none') })).toMatch(
    /read keys .*none: .*no such file/,
  );
  expect(usageError({ ...named, AWS_PROFILE: 'nobody' })).toMatch(
    /there is no profile \[nobody\] in .*credentials/,
  );
  expect(usageError({ ...named, AWS_PROFILE: 'empty' })).toMatch(
    /aws_access_key_id is not set in \[empty\] of .*credentials/,
  );
  expect(usageError({ ...named, AWS_PROFILE: 'broken' })).toMatch(
    /aws_access_key_id in \[broken\] .* holds a space/,
  );
});
