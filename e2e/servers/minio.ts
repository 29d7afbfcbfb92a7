import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';
import { answers } from './daemon.ts';
import { requirePeer } from './peers.ts';
import { freePorts } from './ports.ts';
import { startRestartable, type Restartable } from './restartable.ts';
import { scratchDirectory } from './scratch.ts';
import { sharedServer } from './shared.ts';
import type { S3Server } from './s3-server.ts';

export interface MinioOptions {
  /** Serve HTTPS with a certificate of its own authority (`caFile`). */
  readonly tls?: boolean;
  /** A server of one's own, which the caller may kill and must stop; without it the one of this test run. */
  readonly own?: boolean;
}

/** A MinIO with its data in memory; throws when no MinIO is there (see `describePeer`). */
export async function startMinio(options: MinioOptions = {}): Promise<S3Server> {
  const shared = options.own === true ? undefined : await sharedServer('minio', options.tls === true);
  return shared ?? startOwnMinio(options.tls === true);
}

/** One that may go away and come back: at the same address, with what was stored. */
export type OwnMinio = S3Server & Pick<Restartable, 'kill' | 'start'>;

/** A server of one's own, which the caller must stop. */
export async function startOwnMinio(tls = false): Promise<OwnMinio> {
  const minio = requirePeer('minio');
  const home = await scratchDirectory('minio');
  try {
    const port = await freePorts(2);
    const certificates = join(home, 'certs');
    const caFile = tls ? await makeCertificate(certificates) : undefined;
    const endpoint = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
    const accessKey = 'datamover-tests';
    const secretKey = randomBytes(20).toString('hex');
    const domain = 'localhost';
    const daemon = await startRestartable({
      file: minio.file,
      // The console cannot be left out; it gets a port that nobody knows.
      args: [
        ...[
          'server',
          '--quiet',
          '--address',
          `127.0.0.1:${port}`,
          '--console-address',
          `127.0.0.1:${port + 1}`,
        ],
        ...['--certs-dir', certificates, join(home, 'data')],
      ],
      env: {
        MINIO_ROOT_USER: accessKey,
        MINIO_ROOT_PASSWORD: secretKey,
        MINIO_DOMAIN: domain,
        MINIO_BROWSER: 'off',
        MINIO_UPDATE: 'off',
        // Its data are in memory, and what has been deleted stays for five minutes otherwise.
        MINIO_API_DELETE_CLEANUP_INTERVAL: '5s',
      },
      ready: () => answers(`${endpoint}/minio/health/ready`, caFile),
    });
    return {
      ...{ kind: 'minio', endpoint, accessKey, secretKey, region: 'us-east-1', domain },
      ...(caFile === undefined ? {} : { caFile }),
      ...{ kill: () => daemon.kill(), start: () => daemon.start() },
      async stop() {
        await daemon.stop();
        await rm(home, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
}

/** Makes the pair of files that MinIO wants; the certificate is its own authority. */
async function makeCertificate(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const certificate = join(directory, 'public.crt');
  await run({
    file: 'openssl',
    args: [
      ...['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '2'],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:*.localhost'],
      ...['-keyout', join(directory, 'private.key'), '-out', certificate],
    ],
    operation: 'make a certificate with',
  });
  return certificate;
}
