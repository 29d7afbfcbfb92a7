import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { isErrno } from '../../datamover/errors.ts';
import { run } from '../../datamover/process/spawn.ts';
import { startCeph } from './ceph.ts';
import { answers } from './daemon.ts';
import { describePeer } from './describe-peers.ts';
import { startMinio } from './minio.ts';
import { startRgw } from './rgw.ts';
import { adminClient, makeBucket, type S3Endpoint, type S3Server } from './s3-server.ts';

/** The server keeps what it is given, and refuses a wrong secret: it is a real one. */
async function expectWorking(server: S3Server): Promise<void> {
  const bucket = await makeBucket(server);
  const client = adminClient(server);
  await client.putObject(bucket, 'a/b', 'content');
  expect((await client.statObject(bucket, 'a/b')).size).toBe(7);
  const stranger = adminClient({ ...server, secretKey: 'wrong-secret-key' });
  await expect(stranger.statObject(bucket, 'a/b')).rejects.toThrow();
}

async function isGone(server: Pick<S3Endpoint, 'endpoint'>): Promise<boolean> {
  return answers(server.endpoint).then(
    () => false,
    (error: unknown) => isErrno(error, 'ECONNREFUSED'),
  );
}

describePeer('minio', 'MinIO', () => {
  test('answers and is shared by the run', async () => {
    const [one, other] = await Promise.all([startMinio(), startMinio()]);
    expect(one.endpoint).toBe(other.endpoint);
    await expectWorking(one);
    await one.stop();
    await expectWorking(other);
  });

  test('answers with TLS', async () => {
    const server = await startMinio({ tls: true });
    expect(server.endpoint).toMatch(/^https:/);
    await expectWorking(server);
    await expect(makeBucket({ ...server, caFile: '/dev/null' })).rejects.toThrow(/certificate/);
  });

  test('one of its own is gone after stop', async () => {
    const server = await startMinio({ own: true });
    await expectWorking(server);
    await server.stop();
    expect(await isGone(server)).toBe(true);
  });
});

describePeer('ceph', 'RADOS Gateway', () => {
  test('answers', async () => {
    await expectWorking(await startRgw());
  });

  test('one of its own is gone after stop', async () => {
    const server = await startRgw({ own: true });
    await expectWorking(server);
    await server.stop();
    expect(await isGone(server)).toBe(true);
  });
});

describePeer('ceph', 'Ceph', () => {
  test('takes images and is shared by the run', async () => {
    const [one, other] = await Promise.all([startCeph(), startCeph()]);
    expect(one.environment).toEqual(other.environment);
    const rbd = (...args: string[]) => run({ file: 'rbd', args, env: one.environment });
    await rbd('create', '--size', '8M', `${one.pool}/servers-test`);
    await other.stop();
    const { stdout } = await rbd('info', '--format', 'json', `${one.pool}/servers-test`);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'servers-test', size: 8 << 20 });
    await rbd('rm', '--no-progress', `${one.pool}/servers-test`);
  });

  test('one of its own is gone after stop', async () => {
    const cluster = await startCeph({ own: true });
    const configuration = await readFile(cluster.environment.CEPH_CONF, 'utf8');
    const monitor = /v1:(127\.0\.0\.1:\d+)/.exec(configuration)?.[1] ?? 'nowhere';
    expect(await isGone({ endpoint: `http://${monitor}` })).toBe(false);
    await cluster.stop();
    expect(await isGone({ endpoint: `http://${monitor}` })).toBe(true);
    expect(existsSync(cluster.home)).toBe(false);
  });
});
