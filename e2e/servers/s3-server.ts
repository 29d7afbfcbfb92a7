import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { randomBytes } from 'node:crypto';
import { Client } from 'minio';

/** A real S3 server on this machine's loopback. Plain values alone, so that it travels between processes. */
export interface S3Endpoint {
  /** Which software answers. */
  readonly kind: 'minio' | 'rgw';
  /** `http://127.0.0.1:PORT` or `https://…`. */
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly region: string;
  /** PEM file of the authority behind `https` endpoints. */
  readonly caFile?: string;
  /** Buckets also answer as `BUCKET.<this>` in the Host header. */
  readonly domain: string;
}

export interface S3Server extends S3Endpoint {
  /** Ends a server of one's own and removes its data; a shared one (see shared.ts) stays for the other test files. */
  stop(): Promise<void>;
}

/** An S3 client with the server's root rights, for what a test wants to do behind the store's back. */
export function adminClient(server: S3Endpoint): Client {
  const url = new URL(server.endpoint);
  const tls = url.protocol === 'https:';
  return new Client({
    endPoint: url.hostname,
    port: Number(url.port),
    useSSL: tls,
    accessKey: server.accessKey,
    secretKey: server.secretKey,
    region: server.region,
    ...(server.caFile === undefined
      ? {}
      : { transportAgent: new Agent({ ca: readFileSync(server.caFile) }) }),
  });
}

/** Makes an empty bucket and gives its name; without a name one that no other test has. */
export async function makeBucket(
  server: S3Endpoint,
  name = `test-${randomBytes(6).toString('hex')}`,
): Promise<string> {
  await adminClient(server).makeBucket(name, server.region);
  return name;
}

/** The environment in which restic, rustic and datamover reach this server. */
export function s3Environment(server: S3Endpoint): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: server.accessKey,
    AWS_SECRET_ACCESS_KEY: server.secretKey,
    AWS_DEFAULT_REGION: server.region,
    ...(server.caFile === undefined ? {} : { RESTIC_CACERT: server.caFile }),
  };
}
