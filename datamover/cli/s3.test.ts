import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { AssumeRoleProvider } from 'minio/dist/esm/AssumeRoleProvider.mjs';
import { readFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import { describePeers } from '../../e2e/servers/describe-peers.ts';
import { startMinio } from '../../e2e/servers/minio.ts';
import { makeBucket, s3Environment, type S3Server } from '../../e2e/servers/s3-server.ts';
import { Workbench } from './testing/command.ts';

describePeers(['minio', 'openssl'], 'a repository in a bucket, over TLS', () => {
  let bench: Workbench;
  let server: S3Server;
  let env: Record<string, string>;
  let location: string;

  beforeAll(async () => {
    bench = await Workbench.create();
    server = await startMinio({ tls: true });
    location = `s3:${server.endpoint}/${await makeBucket(server)}/some/prefix`;
    env = { ...s3Environment(server), RESTIC_REPOSITORY: location };
    await bench.image('disk.img', 20);
    await bench.json(['init'], { env });
  });
  afterAll(async () => {
    await server.stop();
    await bench.remove();
  });

  test('a volume goes there and comes back', async () => {
    const lines = await bench.json(['backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/db'], {
      env,
    });
    expect(lines.at(-1)).toMatchObject({ message_type: 'summary', data_added: 20 << 20 });
    const out = bench.path('out.img');
    await bench.json(['restore', 'latest', '--to', `file:${out}`, '--verify'], { env });
    expect((await readFile(out)).equals(await readFile(bench.path('disk.img')))).toBe(true);
    expect((await bench.run(['check', '--read-data'], { env })).status).toBe(0);
  });

  test('settings of the store: region, bucket lookup, --cacert', async () => {
    const cacert = env['RESTIC_CACERT'] ?? '';
    const rest = { ...env, AWS_DEFAULT_REGION: undefined, RESTIC_CACERT: undefined };
    const settings = [
      '-o',
      `s3.region=${server.region}`,
      '-o',
      's3.bucket-lookup=path',
      '-o',
      's3.connections=2',
    ];
    const { status } = await bench.run([...settings, '--cacert', cacert, 'snapshots'], { env: rest });
    expect(status).toBe(0);
  });

  test.each<[string, { RESTIC_REPOSITORY?: string } & Record<string, string | undefined>, number, RegExp]>([
    ['a certificate that nobody vouches for', { RESTIC_CACERT: undefined }, 1, /certificate/],
    ['a wrong secret', { AWS_SECRET_ACCESS_KEY: 'wrong-wrong-wrong' }, 1, /^datamover: /],
    ['a bucket that is not there', { RESTIC_REPOSITORY: 'NO-BUCKET' }, 10, /bucket/],
    ['a bucket without a repository', { RESTIC_REPOSITORY: 'NO-PREFIX' }, 10, /there is no repository here/],
    ['a wrong password', { RESTIC_PASSWORD: 'wrong' }, 12, /wrong password/],
  ])('%s', async (_, change, code, sentence) => {
    const place = change.RESTIC_REPOSITORY?.replace('NO-BUCKET', `s3:${server.endpoint}/no-such-bucket`);
    const named =
      place === undefined
        ? change
        : { RESTIC_REPOSITORY: place.replace('NO-PREFIX', `${location}/elsewhere`) };
    const { status, stderr } = await bench.run(['snapshots'], { env: { ...env, ...named } });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/^datamover: [^\n]+\n$/);
    expect(stderr).not.toContain(server.secretKey);
    expect(status).toBe(code);
  });

  test('a bucket that may only be read: what writes is refused in one sentence, --no-lock reads', async () => {
    const Action = ['s3:GetBucketLocation', 's3:GetObject', 's3:ListBucket'];
    const statement = { Effect: 'Allow', Action, Resource: ['arn:aws:s3:::*'] };
    const provider = new AssumeRoleProvider({
      stsEndpoint: server.endpoint,
      accessKey: server.accessKey,
      secretKey: server.secretKey,
      region: server.region,
      policy: JSON.stringify({ Version: '2012-10-17', Statement: [statement] }),
      transportAgent: new Agent({ ca: await readFile(server.caFile ?? '') }),
    });
    const keys = await provider.getCredentials();
    const reader = {
      ...env,
      AWS_ACCESS_KEY_ID: keys.getAccessKey(),
      AWS_SECRET_ACCESS_KEY: keys.getSecretKey(),
      AWS_SESSION_TOKEN: keys.getSessionToken(),
    };
    const [before] = await bench.json(['snapshots'], { env });
    for (const args of [
      ['backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/refused'],
      ['forget', '--volume', 'shop/db', '--keep-last', '1'],
      ['prune', '--no-lock'],
      ['snapshots'],
    ]) {
      const { status, stderr } = await bench.run(args, { env: reader });
      expect(stderr).toMatch(
        /^datamover: save \S+locks\S+: access denied \(403 AccessDenied\) \([^\n]+\)\n$/,
      );
      expect(status).toBe(1);
    }
    expect(await bench.json(['--no-lock', 'snapshots'], { env: reader })).toEqual([before]);
    const out = bench.path('read-only.img');
    await bench.json(['--no-lock', 'restore', 'latest', '--volume', 'shop/db', '--to', `file:${out}`], {
      env: reader,
    });
    expect((await readFile(out)).equals(await readFile(bench.path('disk.img')))).toBe(true);
    expect(await bench.json(['snapshots'], { env })).toEqual([before]);
    expect(await bench.json(['inspect', 'lock'], { env })).toEqual([[]]);
  });

  test('limits are kept', async () => {
    await bench.image('disk.img', 6);
    const up = ['backup', `file:${bench.path('disk.img')}`, '--volume', 'shop/limited', '--force'];
    const down = ['restore', 'latest', '--volume', 'shop/limited', '--to', `file:${bench.path('slow.img')}`];
    for (const args of [
      [...up, '--limit-upload', '3072'],
      [...down, '--limit-download', '3072'],
    ]) {
      const begun = performance.now();
      await bench.json(args, { env });
      // 6 MiB at 3 MiB/s, less a burst of a tenth of a second and the last piece; the command's own start and end come on top.
      expect(performance.now() - begun).toBeGreaterThan(1850);
    }
  });
});
