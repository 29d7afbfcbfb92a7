import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { describePeer, describePeers } from '../../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../../e2e/servers/minio.ts';
import { freePorts } from '../../../e2e/servers/ports.ts';
import { startRgw } from '../../../e2e/servers/rgw.ts';
import { adminClient, makeBucket, type S3Server } from '../../../e2e/servers/s3-server.ts';
import { createLog } from '../../goplugin/log.ts';
import type { ObjectStore } from '../contract.ts';
import { s3ObjectStore } from './provider.ts';

const log = createLog({ level: 'error' });
const never = new AbortController().signal;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'plugin-store-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function open(server: S3Server, config: Record<string, string> = {}): Promise<ObjectStore> {
  const credentialsFile = join(directory, randomBytes(6).toString('hex'));
  const keys = `[default]\naws_access_key_id=${server.accessKey}\naws_secret_access_key=${server.secretKey}\n`;
  await writeFile(credentialsFile, keys);
  const { region, endpoint: s3Url } = server;
  return s3ObjectStore.open({ region, s3Url, s3ForcePathStyle: 'true', credentialsFile, ...config }, log);
}

async function* bytes(...parts: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* parts;
}

async function read(store: ObjectStore, bucket: string, key: string): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(await store.get(bucket, key, never)));
}

const collect = ((): (() => void) => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
})();

/** Bytes of buffers that somebody still holds. The collector frees buffers beside us, and some only when it looks again. */
async function held(): Promise<number> {
  let least = Infinity;
  for (let look = 0; look < 5; look++) {
    collect();
    await setImmediate();
    least = Math.min(least, process.memoryUsage().arrayBuffers);
  }
  return least;
}

function journeys(start: () => Promise<S3Server>): void {
  let server: S3Server;
  let bucket: string;
  let store: ObjectStore;
  beforeAll(async () => {
    server = await start();
    bucket = await makeBucket(server);
    store = await open(server);
  }, 120_000);
  afterAll(() => server.stop());

  test('objects come back as they went', async () => {
    const body = randomBytes(100_000);
    expect(await store.exists(bucket, 'backups/a b/ü+%.gz')).toBe(false);
    await store.put(bucket, 'backups/a b/ü+%.gz', bytes(body), never);
    expect(await store.exists(bucket, 'backups/a b/ü+%.gz')).toBe(true);
    expect((await read(store, bucket, 'backups/a b/ü+%.gz')).equals(body)).toBe(true);
    await store.put(bucket, 'empty', bytes(), never);
    expect(await read(store, bucket, 'empty')).toHaveLength(0);
    for (const key of ['backups/a b/ü+%.gz', 'empty', 'never-there']) await store.delete(bucket, key);
    expect(await store.exists(bucket, 'empty')).toBe(false);
  });

  test('a large object goes in parts, and memory does not hold it', async () => {
    const chunk = randomBytes(1 << 20);
    const count = 192;
    const wanted = createHash('sha256');
    async function* body(): AsyncGenerator<Buffer> {
      for (let n = 0; n < count; n++) {
        chunk.writeUInt32BE(n);
        wanted.update(chunk);
        yield Buffer.from(chunk);
      }
    }
    const before = await held();
    let most = 0;
    const look = async (): Promise<void> => {
      most = Math.max(most, (await held()) - before);
    };
    const watched = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      let next = 47 << 20;
      for await (const piece of source) {
        next -= piece.length;
        if (next <= 0) {
          await look();
          next += 47 << 20;
        }
        yield piece;
      }
    };
    await store.put(bucket, 'large', watched(body()), never);
    const found = createHash('sha256');
    for await (const part of watched(await store.get(bucket, 'large', never))) found.update(part);
    expect(found.digest('hex')).toBe(wanted.digest('hex'));
    expect(most).toBeLessThan(64 << 20);
  }, 120_000);

  test('an upload that breaks leaves neither an object nor parts', async () => {
    async function* breaking(): AsyncGenerator<Buffer> {
      yield randomBytes(20 << 20);
      throw new Error('Velero hung up');
    }
    await expect(store.put(bucket, 'broken', breaking(), never)).rejects.toThrow(
      `upload ${bucket}/broken: Velero hung up`,
    );
    expect(await store.exists(bucket, 'broken')).toBe(false);
    const uploads = await Array.fromAsync(
      adminClient(server).listIncompleteUploads(bucket, '', true) as AsyncIterable<{ key: string }>,
    );
    expect(uploads.map(({ key }) => key)).toEqual([]);
  });

  test('listings are whole, page after page', async () => {
    const other = await makeBucket(server);
    const keys = Array.from({ length: 1_050 }, (_, n) => `backups/b${String(n).padStart(4, '0')}/x`);
    const admin = adminClient(server);
    for (let n = 0; n < keys.length; n += 50) {
      await Promise.all(keys.slice(n, n + 50).map((key) => admin.putObject(other, key, 'x')));
    }
    await store.put(other, 'restores/r 1/y', bytes(Buffer.from('y')), never);
    await store.put(other, 'top', bytes(Buffer.from('z')), never);
    expect(await store.listObjects(other, 'backups/')).toEqual(keys);
    expect(await store.listCommonPrefixes(other, 'backups/', '/')).toEqual(
      keys.map((key) => key.slice(0, -1)),
    );
    expect(await store.listCommonPrefixes(other, '', '/')).toEqual(['backups/', 'restores/']);
    expect(await store.listCommonPrefixes(other, 'restores/', '/')).toEqual(['restores/r 1/']);
    expect(await store.listObjects(other, 'none/')).toEqual([]);
  }, 120_000);

  test('a signed URL opens the object to anybody, for its time', async () => {
    await store.put(bucket, 'logs.gz', bytes(Buffer.from('log')), never);
    const url = await store.signedUrl(bucket, 'logs.gz', 600);
    expect(new URL(url).searchParams.get('X-Amz-Expires')).toBe('600');
    expect(url).not.toContain(server.secretKey);
    expect(await (await fetch(url)).text()).toBe('log');
    const forged = url.replace('logs.gz', 'large');
    const refused = await fetch(forged);
    expect(refused.status).toBe(403);
    expect(await refused.text()).toContain('SignatureDoesNotMatch');
  });

  test('failures say what was done to what, and why', async () => {
    await expect(store.get(bucket, 'missing', never)).rejects.toThrow(
      new RegExp(`^download ${bucket}/missing: NoSuchKey`),
    );
    await expect(store.listObjects('no-such-bucket', '')).rejects.toThrow(
      /^list no-such-bucket\/: NoSuchBucket/,
    );
    const stranger = await open({ ...server, secretKey: 'wrong-wrong-wrong' });
    const refused = stranger.listObjects(bucket, '');
    await expect(refused).rejects.toThrow(/SignatureDoesNotMatch/);
    await expect(refused).rejects.not.toThrow(/wrong-wrong/);
  });
}

describePeer('minio', 'the object store on MinIO', () => {
  journeys(() => startMinio());

  describe('with options', () => {
    let server: S3Server;
    let bucket: string;
    beforeAll(async () => {
      server = await startMinio();
      bucket = await makeBucket(server);
    }, 60_000);

    test.each(['CRC32', 'CRC32C', 'SHA1', 'SHA256', ''])(
      'the server agrees with checksum "%s"',
      async (checksumAlgorithm) => {
        const store = await open(server, { checksumAlgorithm });
        const body = randomBytes(70_000);
        await store.put(bucket, `sum${checksumAlgorithm}`, bytes(body), never);
        expect((await read(store, bucket, `sum${checksumAlgorithm}`)).equals(body)).toBe(true);
      },
    );

    test('objects carry the tags', async () => {
      const store = await open(server, { tagging: 'team=storage&kind=velero backup' });
      await store.put(bucket, 'tagged', bytes(Buffer.from('x')), never);
      await store.put(bucket, 'tagged-large', bytes(randomBytes(9 << 20)), never);
      for (const key of ['tagged', 'tagged-large']) {
        expect(await adminClient(server).getObjectTagging(bucket, key)).toEqual(
          expect.arrayContaining([
            { Key: 'team', Value: 'storage' },
            { Key: 'kind', Value: 'velero backup' },
          ]),
        );
      }
    });

    test('signed URLs carry the public address', async () => {
      const store = await open(server, { publicUrl: 'https://s3.example.org:8443' });
      expect(await store.signedUrl(bucket, 'x', 60)).toMatch(/^https:\/\/s3\.example\.org:8443\//);
    });

    test('without path style the bucket stands in the host name', async () => {
      const store = await open(server, {
        ...{ s3Url: 'http://s3.example.org', s3ForcePathStyle: 'false' },
      });
      expect(await store.signedUrl(bucket, 'x', 60)).toMatch(`http://${bucket}.s3.example.org/x?`);
    });
  });

  test('a server that is away is asked again, and named', async () => {
    const port = await freePorts(1);
    let asked = 0;
    const broken = createServer((socket) => {
      asked += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => broken.listen(port, '127.0.0.1', resolve));
    try {
      const store = await open({
        ...{ kind: 'minio', endpoint: `http://127.0.0.1:${port}`, accessKey: 'a', secretKey: 'b' },
        ...{ region: 'us-east-1', domain: 'localhost', stop: () => Promise.resolve() },
      });
      await expect(store.listObjects('bucket', 'p')).rejects.toThrow(/^list bucket\/p: /);
      expect(asked).toBe(3);
    } finally {
      broken.close();
    }
  });
});

describePeers(['minio', 'openssl'], 'the object store over TLS', () => {
  let server: S3Server;
  let bucket: string;
  let caCert: string;
  beforeAll(async () => {
    server = await startMinio({ tls: true });
    bucket = await makeBucket(server);
    caCert = await readFile(server.caFile ?? '', 'utf8');
  }, 60_000);
  afterAll(() => server.stop());

  test('trusts the location’s authority, anybody when it must not look, nobody else', async () => {
    const [trusting, careless, strict] = await Promise.all([
      open(server, { caCert }),
      open(server, { insecureSkipTLSVerify: 'true' }),
      open(server),
    ]);
    await trusting.put(bucket, 'a', bytes(Buffer.from('x')), never);
    expect(await careless.exists(bucket, 'a')).toBe(true);
    await expect(strict.exists(bucket, 'a')).rejects.toThrow(/^look for .*certificate/);
  });

  test('a customer’s own key is needed to read, for whole objects and for parts', async () => {
    const customerKeyEncryptionFile = join(directory, 'customer-key');
    await writeFile(customerKeyEncryptionFile, randomBytes(32));
    const [keeper, stranger] = await Promise.all([
      open(server, { caCert, customerKeyEncryptionFile }),
      open(server, { caCert }),
    ]);
    for (const [key, body] of [
      ['small', randomBytes(1000)],
      ['large', randomBytes(17 << 20)],
    ] as const) {
      await keeper.put(bucket, key, bytes(body), never);
      expect(await keeper.exists(bucket, key)).toBe(true);
      expect((await read(keeper, bucket, key)).equals(body)).toBe(true);
      await expect(read(stranger, bucket, key)).rejects.toThrow(/^download /);
    }
  });
});

describePeer('ceph', 'the object store on the RADOS Gateway', () => {
  journeys(() => startRgw());
});
