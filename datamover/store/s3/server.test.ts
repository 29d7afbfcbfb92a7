import { createHash, randomBytes } from 'node:crypto';

import { describe, expect, test } from '@jest/globals';
import { AssumeRoleProvider } from 'minio/dist/esm/AssumeRoleProvider.mjs';

import { describePeer } from '../../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../../e2e/servers/minio.ts';
import { startRgw } from '../../../e2e/servers/rgw.ts';
import { adminClient, makeBucket, type S3Server } from '../../../e2e/servers/s3-server.ts';
import type { DatamoverError } from '../../errors.ts';
import { openStore } from '../location.ts';
import type { FileHandle, FileType } from '../store.ts';
import { collect, failure, saved } from '../store.suite.ts';
import type { RequestKind } from './connection.ts';
import { S3Store } from './store.ts';
import { s3Options, type TestPlace, type TestServer } from './testing.ts';

const CONFIG: FileHandle = { type: 'config', name: '' };

interface Counted {
  readonly store: S3Store;
  /** The requests since the last look. */
  readonly requests: () => RequestKind[];
}

function counted(server: TestServer, place: TestPlace = {}): Counted {
  const kinds: RequestKind[] = [];
  const store = new S3Store(s3Options(server, { ...place, onRequest: (kind) => kinds.push(kind) }));
  return { store, requests: () => kinds.splice(0) };
}

/** The failures of all calls at a place where nothing works. */
async function allFail(store: S3Store): Promise<DatamoverError[]> {
  const errors: DatamoverError[] = [];
  const file: FileHandle = { type: 'data', name: 'a'.repeat(64) };
  for (const call of [
    () => saved(store, 'data', 10),
    () => store.load(file),
    () => collect(store.list(['data'])),
    () => store.remove(file),
  ]) {
    errors.push(await failure(call()));
  }
  return errors;
}

function onServer(start: () => Promise<S3Server>): void {
  test('keys, locks, snapshots and index come with one LIST, whatever lies in data/', async () => {
    const { store, requests } = counted(await start(), { region: 'us-east-1' });
    await store.create();
    for (const type of ['config', 'keys', 'locks', 'snapshots', 'index'] as const)
      await saved(store, type, 10);
    await Promise.all(Array.from({ length: 30 }, () => saved(store, 'data', 10)));
    requests();
    expect(await collect(store.list(['keys', 'locks', 'index', 'snapshots']))).toHaveLength(4);
    expect(requests()).toEqual(['LIST']);
    expect(await collect(store.list(['data']))).toHaveLength(30);
    expect(requests()).toEqual(['LIST']);
    expect(await collect(store.list(['config', 'data', 'snapshots']))).toHaveLength(32);
    expect(requests().sort()).toEqual(['HEAD', 'LIST']);
  });

  test('more than a thousand files come with one request for each thousand', async () => {
    const { store, requests } = counted(await start(), {
      region: 'us-east-1',
      connections: 16,
      prefix: 'p/q',
    });
    await store.create();
    const sizes = { locks: 1200, snapshots: 1100, data: 50 } satisfies Partial<Record<FileType, number>>;
    const names = new Set<string>();
    for (const [type, count] of Object.entries(sizes) as [FileType, number][]) {
      const files = await Promise.all(Array.from({ length: count }, () => saved(store, type, 8)));
      for (const { handle } of files) names.add(`${type}/${handle.name}`);
    }
    requests();
    const listed = await collect(store.list(['keys', 'locks', 'index', 'snapshots']));
    expect(requests()).toEqual(['LIST', 'LIST', 'LIST']);
    expect(listed).toHaveLength(2300);
    expect(new Set(listed.map(({ type, name }) => `${type}/${name}`)).size).toBe(2300);
    expect(listed.every(({ type, name }) => names.has(`${type}/${name}`))).toBe(true);
    expect(listed.every(({ size }) => size === 8)).toBe(true);
    // The sweep ends with the last folder wanted: the rest of the snapshots are never asked for.
    expect(await collect(store.list(['index', 'locks']))).toHaveLength(1200);
    expect(requests().length).toBeLessThanOrEqual(2);
  });

  test('the region is found out with one request, and none is needed if it is given', async () => {
    const server = await start();
    const bucket = await makeBucket(server);
    const unknown = counted(server, { bucket });
    await Promise.all(Array.from({ length: 5 }, () => saved(unknown.store, 'data', 10)));
    expect(unknown.requests().sort()).toEqual(['BUCKET', 'PUT', 'PUT', 'PUT', 'PUT', 'PUT']);
    const given = counted(server, { bucket, region: 'us-east-1' });
    await saved(given.store, 'data', 10);
    expect(given.requests()).toEqual(['PUT']);
  });

  test('only create makes a bucket', async () => {
    const { store, requests } = counted(await start());
    for (const error of await allFail(store)) {
      expect(error.message).toMatch(/the bucket does not exist \(404 NoSuchBucket\) \(.*init/);
      expect(error.message).toContain(store.location);
      expect(error.kind).toBe('no-repository');
      expect([store.isMissing(error), store.isPermanent(error)]).toEqual([false, true]);
    }
    await store.create();
    await saved(store, 'data', 10);
    requests();
    await store.create();
    expect(requests()).toEqual(['LIST']);
  });

  test('a wrong secret key', async () => {
    const server = await start();
    const bucket = await makeBucket(server);
    const store = new S3Store(s3Options({ ...server, secretKey: 'quite-another-secret' }, { bucket }));
    for (const error of [...(await allFail(store)), await failure(store.create())]) {
      expect(error.message).toMatch(
        /the secret key is not the one of this access key.*\(check AWS_ACCESS_KEY_ID/,
      );
      expect(error.message).not.toMatch(/quite-another|Signature=/);
      expect(store.isPermanent(error)).toBe(true);
    }
  });

  test('an unknown access key', async () => {
    const server = await start();
    const store = new S3Store(s3Options({ ...server, accessKey: 'NOBODY' }, { region: 'us-east-1' }));
    for (const error of [...(await allFail(store)), await failure(store.create())]) {
      expect(error.message).toMatch(/the server does not know this access key \(403 InvalidAccessKeyId\)/);
      expect(error.message).not.toMatch(/NOBODY/);
    }
  });

  test('a bucket name that cannot be one is refused', async () => {
    const store = new S3Store(s3Options(await start(), { bucket: 'No_Bucket', region: 'us-east-1' }));
    const error = await failure(store.create());
    expect(error.message).toMatch(/create s3:.*No_Bucket: .*bucket/i);
    expect(store.isPermanent(error)).toBe(true);
  });

  test('content that is not that of its name is refused by the server', async () => {
    const { store } = counted(await start());
    await store.create();
    const error = await failure(store.save({ type: 'data', name: 'e'.repeat(64) }, Buffer.from('other')));
    expect(error.message).toMatch(/the content is not the one of this name/);
    expect(store.isPermanent(error)).toBe(true);
    expect(await collect(store.list(['data']))).toEqual([]);
  });

  test('a pack of 64 MiB and parts of it', async () => {
    const { store } = counted(await start());
    await store.create();
    const { handle, content } = await saved(store, 'data', 64 << 20);
    const parts = await Promise.all(
      Array.from({ length: 16 }, (_, i) =>
        store.load(handle, { range: { offset: i << 22, length: 1 << 22 } }),
      ),
    );
    expect(Buffer.concat(parts).equals(content)).toBe(true);
    const hash = createHash('sha256')
      .update(await store.load(handle))
      .digest('hex');
    expect(hash).toBe(handle.name);
  });

  test('what other programs put beside the repository is not listed', async () => {
    const server = await start();
    const bucket = await makeBucket(server);
    const admin = adminClient(server);
    const name = 'f'.repeat(64);
    for (const key of [
      'p/keys/',
      'p/keys/x',
      `p/data/${name}`,
      `p/data/00/${name}`,
      `p/keys/a/${name}`,
      `p2/keys/${name}`,
      `p/other/${name}`,
    ]) {
      await admin.putObject(bucket, key, 'x');
    }
    const { store } = counted(server, { bucket, prefix: 'p' });
    expect(await collect(store.list(['data', 'keys', 'index', 'config']))).toEqual([]);
    const { handle } = await saved(store, 'keys', 5);
    expect(await collect(store.list(['data', 'keys']))).toMatchObject([handle]);
  });

  test('a bucket with object lock takes files, and forgets them by a marker', async () => {
    const server = await start();
    const bucket = `locked-${randomBytes(6).toString('hex')}`;
    const admin = adminClient(server);
    await admin.makeBucket(bucket, server.region, { ObjectLocking: true });
    // Its type says nothing of the promise that it gives.
    await Promise.resolve(
      admin.setObjectLockConfig(bucket, { mode: 'GOVERNANCE', unit: 'Days', validity: 1 }),
    );
    const { store } = counted(server, { bucket });
    const { handle, content } = await saved(store, 'data', 1000);
    await store.save(handle, content);
    expect(Buffer.from(await store.load(handle)).equals(content)).toBe(true);
    await store.remove(handle);
    expect(await collect(store.list(['data']))).toEqual([]);
    expect(store.isMissing(await failure(store.load(handle)))).toBe(true);
  });

  test('load and save end when they are stopped in the middle', async () => {
    const { store } = counted(await start());
    await store.create();
    const { handle, content } = await saved(store, 'data', 32 << 20);
    for (const call of [
      (signal: AbortSignal, pace: () => undefined) => store.load(handle, { signal, pace }),
      (signal: AbortSignal, pace: () => undefined) => store.save(handle, content, { signal, pace }),
    ]) {
      const stopping = new AbortController();
      let pieces = 0;
      const pace = (): undefined => {
        if (++pieces === 3) stopping.abort();
      };
      expect((await failure(call(stopping.signal, pace))).kind).toBe('cancelled');
      expect(pieces).toBeLessThan(10);
    }
    expect((await store.load(handle)).length).toBe(content.length);
  });
}

describePeer('minio', 'S3 on MinIO', () => {
  onServer(startMinio);

  test('temporary keys with a session token', async () => {
    const server = await startMinio();
    const { endpoint: stsEndpoint, accessKey, secretKey } = server;
    const provider = new AssumeRoleProvider({ stsEndpoint, accessKey, secretKey, region: 'us-east-1' });
    const keys = await provider.getCredentials();
    const env = {
      AWS_ACCESS_KEY_ID: keys.getAccessKey(),
      AWS_SECRET_ACCESS_KEY: keys.getSecretKey(),
      AWS_SESSION_TOKEN: keys.getSessionToken(),
    };
    const bucket = await makeBucket(server);
    const store = await openStore(`s3:${server.endpoint}/${bucket}`, env);
    const { handle } = await saved(store, 'keys', 10);
    expect(await collect(store.list(['keys']))).toMatchObject([handle]);
    const broken = await openStore(`s3:${server.endpoint}/${bucket}`, {
      ...env,
      AWS_SESSION_TOKEN: 'nonsense',
    });
    expect((await failure(broken.load(handle))).message).toMatch(
      /the session token is not valid.*AWS_SESSION_TOKEN/,
    );
  });

  test('keys that may not list, write or read say so', async () => {
    const server = await startMinio();
    const { endpoint: stsEndpoint, accessKey, secretKey } = server;
    const policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: ['s3:GetBucketLocation'], Resource: ['arn:aws:s3:::*'] }],
    });
    const provider = new AssumeRoleProvider({
      stsEndpoint,
      accessKey,
      secretKey,
      region: 'us-east-1',
      policy,
    });
    const keys = await provider.getCredentials();
    const bucket = await makeBucket(server);
    const options = s3Options(server, { bucket });
    const credentials = {
      accessKey: keys.getAccessKey(),
      secretKey: keys.getSecretKey(),
      sessionToken: keys.getSessionToken(),
    };
    for (const error of await allFail(new S3Store({ ...options, credentials }))) {
      expect(error.message).toMatch(/access denied \(403 AccessDenied\) \(.*policy/);
    }
  });

  test('a wrong region is put right from the server’s answer', async () => {
    const server = await startMinio();
    const bucket = await makeBucket(server);
    const { store, requests } = counted(server, { bucket, region: 'eu-nowhere-7' });
    const { handle } = await saved(store, 'data', 10);
    await store.load(handle);
    expect(requests().filter((kind) => kind === 'PUT').length).toBeLessThanOrEqual(2);
    const other = counted(server, { bucket, region: 'eu-nowhere-7' });
    expect(await collect(other.store.list(['data']))).toHaveLength(1);
  });

  test('a certificate from an unknown authority is not trusted, and TLS is not taken for plain', async () => {
    const tls = await startMinio({ tls: true });
    const plain = await startMinio();
    const withoutCa: TestServer = { ...tls, caFile: undefined };
    const [untrusted] = await allFail(new S3Store(s3Options(withoutCa)));
    expect(untrusted?.message).toMatch(
      /the certificate comes from an unknown authority \(.*--cacert, AWS_CA_BUNDLE/,
    );
    const [swapped] = await allFail(
      new S3Store(s3Options({ ...withoutCa, endpoint: tls.endpoint.replace('https:', 'http:') })),
    );
    expect(swapped?.message).toMatch(/\(the server wants https: write s3:https:/);
    const [noTls] = await allFail(
      new S3Store(s3Options({ ...plain, endpoint: plain.endpoint.replace('http:', 'https:') })),
    );
    expect(noTls?.message).toMatch(/TLS does not work with this server \(.*s3:http:/);
    for (const error of [untrusted, swapped, noTls]) expect(error?.retryable).toBe(false);
  });

  test.each(['AWS_CA_BUNDLE', 'RESTIC_CACERT'])('a file of certificates in %s is trusted', async (name) => {
    const server = await startMinio({ tls: true });
    const bucket = await makeBucket(server);
    const env = {
      AWS_ACCESS_KEY_ID: server.accessKey,
      AWS_SECRET_ACCESS_KEY: server.secretKey,
      [name]: server.caFile,
    };
    const { handle } = await saved(await openStore(`s3:${server.endpoint}/${bucket}`, env), 'data', 10);
    const { caFile: cacert } = server;
    const store = await openStore(
      `s3:${server.endpoint}/${bucket}`,
      { ...env, [name]: undefined },
      { cacert },
    );
    expect((await store.load(handle)).length).toBe(10);
  });

  test('over TLS, too, nothing is loaded before its last piece may pass', async () => {
    const store = new S3Store(s3Options(await startMinio({ tls: true })));
    await store.create();
    const { handle } = await saved(store, 'data', 4 << 20);
    let waiting = 0;
    // Longer than the next pieces take to come: TLS hands over several at once.
    const pace = async (): Promise<void> => {
      waiting += 1;
      await new Promise((resolve) => setTimeout(resolve, 3 * waiting));
      waiting -= 1;
    };
    const bytes = await store.load(handle, { pace });
    expect(bytes).toHaveLength(4 << 20);
    expect(waiting).toBe(0);
  }, 60_000);

  test('a server that dies is waited for until the deadline', async () => {
    const server = await startMinio({ own: true });
    const bucket = await makeBucket(server);
    const env = { AWS_ACCESS_KEY_ID: server.accessKey, AWS_SECRET_ACCESS_KEY: server.secretKey };
    const store = await openStore(`s3:${server.endpoint}/${bucket}`, env, {
      retry: { deadlineMs: 1500, baseMs: 20 },
    });
    await saved(store, 'data', 10);
    await server.stop();
    const error = await failure(saved(store, 'data', 1 << 20));
    expect(error.message).toMatch(/connection refused, \d+ attempts in [1-3] s \(check host and port/);
    expect(store.isPermanent(error)).toBe(false);
  });
});

describePeer('ceph', 'S3 on RADOS Gateway', () => onServer(startRgw));

describe('S3 without a server', () => {
  const nobody = { accessKey: 'a', secretKey: 'b', domain: '', stop: (): Promise<void> => Promise.resolve() };

  test('a refused connection, an unknown host', async () => {
    const refusing = new S3Store(s3Options({ ...nobody, endpoint: 'http://127.0.0.1:9' }));
    for (const error of [...(await allFail(refusing)), await failure(refusing.create())]) {
      expect(error.message).toMatch(/127\.0\.0\.1:9.*: connection refused \(check host and port/);
      expect(refusing.isPermanent(error)).toBe(false);
    }
    const nowhere = new S3Store(s3Options({ ...nobody, endpoint: 'https://no-such-host.invalid' }));
    for (const error of await allFail(nowhere))
      expect(error.message).toMatch(/the host name (is not known|cannot be looked up)/);
  });

  test('a store that was never reached fails within seconds and says how often it tried', async () => {
    const store = await openStore(
      's3:http://127.0.0.1:9/bucket',
      { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: randomBytes(8).toString('hex') },
      { retry: { firstContactMs: 600 } },
    );
    const begun = performance.now();
    expect((await failure(store.load(CONFIG))).message).toMatch(
      /connection refused, \d+ attempts in [0-3] s \(check host/,
    );
    expect(performance.now() - begun).toBeLessThan(8000);
  });
});
