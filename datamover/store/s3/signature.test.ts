import { createHash, randomBytes } from 'node:crypto';

import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { signV4 } from 'minio/dist/esm/signing.mjs';

import { encodeKey, targetOf, type S3Address } from './address.ts';
import { EMPTY_SHA256, Signer } from './signature.ts';

const CREDENTIALS = {
  accessKey: 'AKIAIOSFODNN7EXAMPLE',
  secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const ADDRESS: S3Address = {
  secure: true,
  host: 's3.amazonaws.com',
  port: 443,
  bucket: 'bucket',
  prefix: '',
};

/** The signature that the package `minio` puts under the same request. */
function signatureByMinio(
  method: string,
  path: string,
  headers: Record<string, string>,
  region: string,
  now: Date,
): string {
  const { accessKey, secretKey } = CREDENTIALS;
  const request = { method, path, headers, protocol: 'https:' };
  const hash = headers['x-amz-content-sha256'] ?? '';
  return signV4(request, accessKey, secretKey, region, now, hash);
}

function signatureOf(authorization: string): string | undefined {
  return /Signature=([0-9a-f]{64})$/.exec(authorization)?.[1];
}

describe('signatures', () => {
  test('equal those of the package minio for any key, region, day and session token', () => {
    const request = fc.record({
      key: fc
        .array(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 1, maxLength: 4 })
        .map((parts) => parts.join('/')),
      region: fc.constantFrom('us-east-1', 'eu-central-1', 'garage'),
      token: fc.option(fc.stringMatching(/^[A-Za-z0-9+/=]{1,40}$/), { nil: undefined }),
      now: fc.date({ min: new Date('2020-01-01'), max: new Date('2040-01-01'), noInvalidDate: true }),
      method: fc.constantFrom('GET', 'PUT'),
      checksum: fc.boolean(),
    });
    fc.assert(
      fc.property(request, ({ key, region, token, now, method, checksum }) => {
        const target = targetOf(ADDRESS, 'path', region, key);
        const hash = createHash('sha256').update(randomBytes(8)).digest('hex');
        const signed = new Signer({ ...CREDENTIALS, sessionToken: token }, region).sign(
          method,
          target,
          hash,
          { checksum, now },
        );
        const { Authorization, Host, ...others } = signed;
        const headers: Record<string, string> = { host: Host, ...others };
        expect(Authorization).toContain(`Credential=${CREDENTIALS.accessKey}/`);
        expect(signatureOf(Authorization)).toBe(
          signatureOf(signatureByMinio(method, target.path, headers, region, now)),
        );
      }),
    );
  });

  test('one signer signs on both sides of midnight', () => {
    const signer = new Signer(CREDENTIALS, 'us-east-1');
    const target = targetOf(ADDRESS, 'path', 'us-east-1', 'key');
    const days = ['2026-03-01T23:59:59Z', '2026-03-02T00:00:00Z', '2026-03-01T23:59:59Z'].map((now) =>
      signer.sign('GET', target, EMPTY_SHA256, { now: new Date(now) }),
    );
    const fresh = new Signer(CREDENTIALS, 'us-east-1').sign('GET', target, EMPTY_SHA256, {
      now: new Date('2026-03-02T00:00:00Z'),
    });
    expect(days[1]).toEqual(fresh);
    expect(days[0]).toEqual(days[2]);
  });
});

describe('targets', () => {
  test.each([
    ['path', 'us-east-1', 's3.amazonaws.com', '/bucket/a%20b/c'],
    ['dns', 'us-east-1', 'bucket.s3.amazonaws.com', '/a%20b/c'],
    ['dns', 'eu-central-1', 'bucket.s3.eu-central-1.amazonaws.com', '/a%20b/c'],
  ] as const)('%s style in %s', (style, region, host, path) => {
    expect(targetOf(ADDRESS, style, region, 'a b/c')).toEqual({ host, port: 443, authority: host, path });
  });

  test('an unusual port and an IPv6 address are in the Host header', () => {
    const address = { ...ADDRESS, host: '::1', port: 9000 };
    expect(targetOf(address, 'path', 'us-east-1', 'k')).toMatchObject({
      host: '::1',
      authority: '[::1]:9000',
    });
  });

  test('only unreserved characters stay as they are', () => {
    expect(encodeKey("AZaz09-._~/!'()*+ %&=é")).toBe('AZaz09-._~/%21%27%28%29%2A%2B%20%25%26%3D%C3%A9');
  });
});
