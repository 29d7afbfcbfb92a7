import http from 'node:http';
import https from 'node:https';
import { rootCertificates } from 'node:tls';
import { Client, IamAwsProvider } from 'minio';
import type { S3Config } from './config.ts';
import type { Credentials } from './credentials.ts';

/** How long a server may say nothing: Velero itself waits for ever. */
const SILENCE_MS = 60_000;

/** A client for one address; signed URLs carry another address than requests where the location has a `publicUrl`. */
export function connect(config: S3Config, credentials: Credentials, endpoint: URL): Client {
  const tls = endpoint.protocol === 'https:';
  const trust =
    config.caCert === undefined ? {} : { ca: [...rootCertificates, ...[config.caCert].flatMap(splitPem)] };
  const transportAgent = tls
    ? new https.Agent({ keepAlive: true, rejectUnauthorized: config.verifyCertificate, ...trust })
    : new http.Agent({ keepAlive: true });
  return new Client({
    ...{ endPoint: endpoint.hostname, useSSL: tls, pathStyle: config.pathStyle, transportAgent },
    transport: withTimeout(tls ? https : http),
    ...(endpoint.port === '' ? {} : { port: Number(endpoint.port) }),
    ...(config.region === undefined ? {} : { region: config.region }),
    ...(credentials === 'web-identity' ? { credentialsProvider: new IamAwsProvider({}) } : credentials),
    // Retried by store.ts, connection failures too.
    retryOptions: { disableRetry: true },
  });
}

function splitPem(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

type Transport = Pick<typeof http, 'request'>;

function withTimeout(transport: Transport): Transport {
  const request = (options: http.RequestOptions, answered?: (answer: http.IncomingMessage) => void) => {
    const sent = transport.request({ ...options, timeout: SILENCE_MS }, answered);
    sent.once('timeout', () =>
      sent.destroy(new Error(`the server said nothing for ${SILENCE_MS / 1000} seconds`)),
    );
    return sent;
  };
  return { request: request as Transport['request'] };
}
