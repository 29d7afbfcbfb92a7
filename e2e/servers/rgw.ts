import { randomBytes } from 'node:crypto';
import { run } from '../../datamover/process/spawn.ts';
import { startCeph } from './ceph.ts';
import { answers, startDaemon } from './daemon.ts';
import { requirePeer } from './peers.ts';
import { sharedServer } from './shared.ts';
import type { S3Server } from './s3-server.ts';

export interface RgwOptions {
  /** A gateway (and cluster) of one's own, which the caller must stop; without it the one of this test run. */
  readonly own?: boolean;
}

/** A RADOS Gateway on a cluster in memory; throws when Ceph is not there (see `describePeer`). */
export async function startRgw(options: RgwOptions = {}): Promise<S3Server> {
  const shared = options.own === true ? undefined : await sharedServer('rgw', false);
  return shared ?? startOwnRgw();
}

async function startOwnRgw(): Promise<S3Server> {
  const radosgw = requirePeer('ceph').file;
  const cluster = await startCeph({ own: true });
  try {
    const endpoint = `http://127.0.0.1:${cluster.freePort}`;
    const gateway = await startDaemon({
      file: radosgw,
      args: ['-f', '-n', 'client.rgw'],
      env: cluster.environment,
      ready: () => answers(endpoint),
    });
    const accessKey = 'DATAMOVERTESTS';
    const secretKey = randomBytes(20).toString('hex');
    await run({
      file: 'radosgw-admin',
      args: [
        ...['user', 'create', '--uid=tests', '--display-name=tests', '--max-buckets=0'],
        // Only this machine's users see the argument, and it opens nothing but this run's throw-away cluster.
        ...[`--access-key=${accessKey}`, `--secret-key=${secretKey}`],
      ],
      env: cluster.environment,
    });
    return {
      ...{ kind: 'rgw', endpoint, accessKey, secretKey, region: 'us-east-1', domain: 'localhost' },
      async stop() {
        await gateway.stop();
        await cluster.stop();
      },
    };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}
