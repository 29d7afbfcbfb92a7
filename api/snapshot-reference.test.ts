import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  formatSnapshotReference,
  parseSnapshotReference,
  type SnapshotReference,
} from './snapshot-reference.ts';

const ID = '0123456789abcdef'.repeat(4);
const REFERENCE: SnapshotReference = {
  repository: 's3:https://minio.example:9000/backups/cluster 1/shop'.replace(' ', '-'),
  snapshotID: ID,
  protectedNamespace: 'velero',
  openedBy: { secret: 'default-volsync-restic' },
  sourceNamespace: 'shop',
  claim: 'db',
  driver: 'rbd',
  format: 'image',
  bytes: 20 * 2 ** 30,
};

const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/);
const part = fc.stringMatching(/^[!$%'()*+,.0-9:;=A-Z[\]^_`a-z{|}~éж-]{1,20}$/);
const anyReference: fc.Arbitrary<SnapshotReference> = fc.record({
  repository: fc
    .tuple(
      fc.constantFrom('s3:https://h:9000/', 's3:http://[::1]:9000/', 's3:s3.amazonaws.com/', '/'),
      fc.array(part, { minLength: 1, maxLength: 4 }),
    )
    .map(([host, parts]) => host + parts.join('/')),
  snapshotID: fc.stringMatching(/^[0-9a-f]{64}$/),
  protectedNamespace: label,
  openedBy: fc.oneof(fc.record({ secret: label }), fc.record({ target: label })),
  sourceNamespace: label,
  claim: label,
  driver: fc.constantFrom('zfs', 'rbd', 'file'),
  format: fc.constantFrom('image', 'stream'),
  bytes: fc.maxSafeNat(),
});

describe('a reference to a snapshot', () => {
  it('is one printable string, readable by people', () => {
    expect(formatSnapshotReference(REFERENCE)).toBe(
      `datamover.io/v1?repository=s3:https://minio.example:9000/backups/cluster-1/shop&snapshot=${ID}&protected=velero` +
        '&secret=default-volsync-restic&namespace=shop&claim=db&driver=rbd&format=image&bytes=21474836480',
    );
  });

  it('says all again when it is read', () => {
    fc.assert(
      fc.property(anyReference, (reference) => {
        const text = formatSnapshotReference(reference);
        expect(text).toMatch(/^[\x21-\x7e]+$/);
        expect(parseSnapshotReference(text)).toEqual(reference);
      }),
    );
  });

  it('is read in one spelling alone: a changed text is refused or says the same as it would have been written', () => {
    const text = formatSnapshotReference(REFERENCE);
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        fc.constantFrom('', '&', '=', '%', '%61', 'A', '?', ' ', '\n', '@'),
        (at, put) => {
          const changed = text.slice(0, at) + put + text.slice(at + 1);
          let read: SnapshotReference;
          try {
            read = parseSnapshotReference(changed);
          } catch (error) {
            expect((error as Error).message).toMatch(/^it/);
            return;
          }
          expect(formatSnapshotReference(read)).toBe(changed);
        },
      ),
    );
  });

  const text = formatSnapshotReference(REFERENCE);
  it.each([
    ['', 'it is empty'],
    ['kopia-snapshot-id', 'another data mover made it'],
    [text.replace('/v1?', '/v2?'), 'its version is datamover.io/v2, known is datamover.io/v1'],
    [text.replace(ID, ID.slice(1)), 'its snapshot cannot be'],
    [text.replace('https://', 'https://user:password@'), 'not encoded as it should be'],
    [text.replace('https://', 'https://user:password%40'), 'its repository cannot be'],
    [text.replace('s3:https', 'rest:https'), 'its repository cannot be'],
    [text.replace('claim=db', 'claim=../db'), 'its claim cannot be "../db"'],
    [text.replace('secret=', 'password='), 'it has no secret where one belongs'],
    [text.replace('&claim=db', ''), 'it has no claim where one belongs'],
    [`${text}&bytes=1`, 'it goes on'],
    [text.replace('bytes=21474836480', 'bytes=021474836480'), 'its bytes cannot be'],
    [text.replace('claim=db', 'claim=%'), 'not encoded'],
    [text + 'x'.repeat(5000), 'longer than 4096'],
  ])('refuses %j: %s', (wrong, cause) => expect(() => parseSnapshotReference(wrong)).toThrow(cause));

  it('is not written with credentials in it', () => {
    const repository = 's3:https://key:secret@minio.example/backups';
    expect(() => formatSnapshotReference({ ...REFERENCE, repository })).toThrow('its repository cannot be');
  });
});
