import { describe, expect, it } from '@jest/globals';
import { locationOfSecret, secretHere } from '../../../api/derived-names.ts';
import fc from 'fast-check';
import { checkLocation, liesWithin, repositoryOf } from './place.ts';
import { readCredentialsFile, readStorageLocation } from './storage-location.ts';

const BASE = 's3:https://minio.example:9000/backups/cluster-1';

describe('the place of a repository', () => {
  it.each([
    ['Namespace', `${BASE}/shop`],
    ['Target', BASE],
    ['Volume', `${BASE}/shop/db`],
  ] as const)('%s: %s', (scope, repository) => {
    expect(repositoryOf(`${BASE}/`, scope, { namespace: 'shop', claim: 'db' })).toBe(repository);
  });

  it('K-03: is its location or lies below it', () => {
    expect(liesWithin(BASE, BASE)).toBe(true);
    expect(liesWithin(BASE, `${BASE}/shop/`)).toBe(true);
    expect(liesWithin(BASE, `${BASE}-other/shop`)).toBe(false);
    expect(liesWithin(BASE, `${BASE}/../other`)).toBe(false);
    expect(liesWithin(BASE, 's3:https://evil.example/backups/cluster-1')).toBe(false);
    expect(liesWithin(BASE, 's3:https://minio.example:9000@evil.example/backups/cluster-1/shop')).toBe(false);
    fc.assert(
      fc.property(fc.string(), (tail) => {
        if (liesWithin(BASE, BASE + tail)) expect(tail).toMatch(/^(\/[^?#\s]*)?$/);
      }),
    );
  });

  it.each(['s3:https://key:secret@minio/b', 'rest:https://x/y', 's3:', '', 'relative/path', '/a/../b'])(
    'refuses %j without repeating it',
    (location) => {
      expect(() => checkLocation(location)).toThrow(
        /^read location of the repository: it is not of the form/,
      );
    },
  );
});

describe('the repository of a BackupStorageLocation', () => {
  const location = (spec: object) => ({ metadata: { name: 'default' }, spec });
  const objectStorage = { bucket: 'velero', prefix: '/cluster-1/' };

  it("has OADP's name for its secret", () => {
    expect(locationOfSecret('default-volsync-restic')).toBe('default');
    expect(locationOfSecret('-volsync-restic')).toBeUndefined();
    expect(locationOfSecret('restic')).toBeUndefined();
    expect(secretHere('default-volsync-restic', 'theirs')).toBe('theirs-volsync-restic');
    expect(secretHere('restic', 'theirs')).toBe('restic');
  });

  it('lies below the prefix in the folder that Velero allows', () => {
    const config = { s3Url: 'https://minio.example:9000/', region: 'minio' };
    expect(readStorageLocation(location({ provider: 'aws', objectStorage, config }))).toEqual({
      location: 's3:https://minio.example:9000/velero/cluster-1/restic/datamover.io',
      ...{ region: 'minio', profile: 'default', credential: { name: 'cloud-credentials', key: 'cloud' } },
    });
  });

  it("is Amazon's without an address, and has the authority and the keys that it names", () => {
    const caCert = Buffer.from('-----BEGIN').toString('base64');
    const read = readStorageLocation(
      location({
        provider: 'datamover.io/s3',
        objectStorage: { bucket: 'b', caCert },
        config: { region: 'eu-central-1', profile: 'other' },
        credential: { name: 'keys', key: 'file' },
      }),
    );
    expect(read).toEqual({
      location: 's3:https://s3.eu-central-1.amazonaws.com/b/restic/datamover.io',
      ...{ region: 'eu-central-1', profile: 'other', ca: '-----BEGIN' },
      credential: { name: 'keys', key: 'file' },
    });
  });

  it.each([
    [{ provider: 'azure', objectStorage }, 'its provider "azure" is none for S3'],
    [{ provider: 'aws' }, 'it names no bucket'],
    [{ provider: 'aws', objectStorage, config: { s3Url: 'https://k:s@minio' } }, 'its s3Url is not'],
  ])('refuses %j: %s', (spec, cause) => expect(() => readStorageLocation(location(spec))).toThrow(cause));

  it("reads AWS's credentials files", () => {
    const text =
      '[default]\naws_access_key_id=one\naws_secret_access_key = two \n\n[ other ]\r\naws_access_key_id=three\r\naws_secret_access_key=four=\r\naws_session_token=five\n';
    expect(readCredentialsFile(text, 'default')).toEqual({ id: 'one', secret: 'two' });
    expect(readCredentialsFile(text, 'other')).toEqual({ id: 'three', secret: 'four=', token: 'five' });
    expect(readCredentialsFile(text, 'none')).toBeUndefined();
  });
});
