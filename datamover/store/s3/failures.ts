import type { IncomingHttpHeaders } from 'node:http';

import { StoreFailure, type StoreFailureReason } from '../failure.ts';

interface Meaning {
  readonly reason: StoreFailureReason;
  readonly cause?: string;
  readonly hint?: string;
}

const KEYS_HINT = 'check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY';
const THROTTLED: Meaning = { reason: 'throttled', cause: 'the server asks for fewer requests' };
const NO_BUCKET: Meaning = {
  reason: 'no-place',
  cause: 'the bucket does not exist',
  hint: 'check its name; `datamover init` makes the bucket and a repository in it',
};

/** Error codes of S3 and of its relatives. Source: Amazon S3 API Reference, "Error responses"; MinIO's own begin with X. */
const CODES: Readonly<Record<string, Meaning>> = {
  NoSuchKey: { reason: 'missing', cause: 'no such file' },
  NotFound: { reason: 'missing', cause: 'no such file' },
  NoSuchBucket: NO_BUCKET,
  InvalidBucketName: { reason: 'refused', cause: 'the server does not take this as the name of a bucket' },
  AccessDenied: {
    reason: 'forbidden',
    cause: 'access denied',
    hint: 'check the keys, and that their policy allows to list, read, write and delete in this bucket',
  },
  AllAccessDisabled: { reason: 'forbidden', cause: 'all access to the bucket is disabled' },
  InvalidAccessKeyId: {
    reason: 'forbidden',
    cause: 'the server does not know this access key',
    hint: KEYS_HINT,
  },
  SignatureDoesNotMatch: {
    reason: 'forbidden',
    cause: 'the secret key is not the one of this access key',
    hint: KEYS_HINT,
  },
  ExpiredToken: {
    reason: 'forbidden',
    cause: 'the session token has expired',
    hint: 'get new temporary keys',
  },
  InvalidToken: {
    reason: 'forbidden',
    cause: 'the session token is not valid',
    hint: 'check AWS_SESSION_TOKEN',
  },
  InvalidTokenId: {
    reason: 'forbidden',
    cause: 'the session token is not valid',
    hint: 'check AWS_SESSION_TOKEN',
  },
  RequestTimeTooSkewed: {
    reason: 'forbidden',
    cause: 'the clocks of this machine and of the server differ too much',
    hint: 'set the clock',
  },
  InvalidRange: { reason: 'range', cause: 'the bytes asked for are not within the file' },
  QuotaExceeded: {
    reason: 'full',
    cause: 'the quota is used up',
    hint: 'raise it, or forget and prune old snapshots',
  },
  XMinioStorageFull: { reason: 'full', cause: 'the server has no space left' },
  XMinioAdminBucketQuotaExceeded: { reason: 'full', cause: 'the quota of the bucket is used up' },
  SlowDown: THROTTLED,
  SlowDownRead: THROTTLED,
  SlowDownWrite: THROTTLED,
  ServiceUnavailable: THROTTLED,
  TooManyRequests: THROTTLED,
  RequestLimitExceeded: THROTTLED,
  ThrottlingException: THROTTLED,
  XMinioServerNotInitialized: { reason: 'throttled', cause: 'the server is still starting' },
  RequestTimeout: { reason: 'broken', cause: 'the server waited too long for our bytes' },
  IncompleteBody: { reason: 'broken', cause: 'our bytes did not arrive whole' },
  InternalError: { reason: 'broken', cause: 'the server failed' },
  OperationAborted: { reason: 'broken', cause: 'another request was in the way' },
};

/** What a status says where no code does. */
function meaningOfStatus(status: number): Meaning {
  if (status === 404) return { reason: 'missing', cause: 'no such file' };
  if (status === 401 || status === 403) return { ...CODES['AccessDenied'], reason: 'forbidden' };
  if (status === 416) return { reason: 'range', cause: 'the bytes asked for are not within the file' };
  if (status === 429 || status === 503) return THROTTLED;
  if (status === 507) return { reason: 'full', cause: 'the server has no space left' };
  if (status === 408 || status >= 500) return { reason: 'broken' };
  return { reason: 'refused' };
}

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body, or its beginning. Empty for HEAD. */
  readonly body: string;
}

/** Reads an answer that is not a success. Of the server's words only its message is repeated: the rest may name keys. */
export function answerFailure(
  operation: string,
  subject: string,
  { status, headers, body }: ErrorAnswer,
): StoreFailure {
  const code = element(body, 'Code') ?? header(headers, 'x-minio-error-code');
  const message = element(body, 'Message') ?? header(headers, 'x-minio-error-desc') ?? firstLine(body);
  const known = code === undefined ? undefined : CODES[code];
  const meaning = known ?? meaningOfStatus(status);
  const words = [
    meaning.cause ?? message ?? 'the server refused',
    `(${[status, code].filter(Boolean).join(' ')})`,
  ];
  return new StoreFailure({
    operation,
    subject,
    cause: words.join(' '),
    ...hintFor(meaning, body),
    reason: meaning.reason,
    code: code ?? String(status),
    retryAfterMs: retryAfter(header(headers, 'retry-after')),
    region: element(body, 'Region') ?? header(headers, 'x-amz-bucket-region'),
  });
}

function hintFor(meaning: Meaning, body: string): { hint?: string } {
  if (/HTTP request (?:was sent )?to (?:an )?HTTPS/i.test(body))
    return { hint: 'the server wants https: write s3:https://…' };
  return meaning.hint === undefined ? {} : { hint: meaning.hint };
}

const REACH_HINT = 'check host and port of the repository, and that the server runs';

const NETWORK: Readonly<Record<string, Meaning>> = {
  ECONNREFUSED: { reason: 'unreachable', cause: 'connection refused', hint: REACH_HINT },
  ENOTFOUND: { reason: 'unreachable', cause: 'the host name is not known', hint: REACH_HINT },
  EAI_AGAIN: {
    reason: 'unreachable',
    cause: 'the host name cannot be looked up now',
    hint: 'check the DNS of this machine',
  },
  EHOSTUNREACH: { reason: 'unreachable', cause: 'no route to the host', hint: REACH_HINT },
  ENETUNREACH: { reason: 'unreachable', cause: 'no route to the network', hint: REACH_HINT },
  ETIMEDOUT: { reason: 'unreachable', cause: 'the host does not answer', hint: REACH_HINT },
  ECONNRESET: { reason: 'broken', cause: 'the connection broke' },
  EPIPE: { reason: 'broken', cause: 'the connection broke' },
  ECONNABORTED: { reason: 'broken', cause: 'the connection broke' },
  EPROTO: {
    reason: 'untrusted',
    cause: 'TLS does not work with this server',
    hint: 'a server without TLS is written s3:http://…',
  },
};

const CA_HINT = 'name the file of its authority with --cacert, AWS_CA_BUNDLE or RESTIC_CACERT';
const UNKNOWN_CA: Meaning = {
  reason: 'untrusted',
  cause: 'the certificate comes from an unknown authority',
  hint: CA_HINT,
};

const CERTIFICATES: Readonly<Record<string, Meaning>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_CA,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_CA,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_CA,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_CA,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_CA,
  CERT_HAS_EXPIRED: {
    reason: 'untrusted',
    cause: 'the certificate has expired',
    hint: 'renew it, or set the clock',
  },
  CERT_NOT_YET_VALID: {
    reason: 'untrusted',
    cause: 'the certificate is not valid yet',
    hint: 'set the clock',
  },
  ERR_TLS_CERT_ALTNAME_INVALID: { reason: 'untrusted', cause: 'the certificate is for another host name' },
};

/** Says in plain words what happened to a connection. Node's own text may carry addresses, never keys. */
export function networkFailure(operation: string, subject: string, error: unknown): StoreFailure {
  if (error instanceof StoreFailure) return error;
  const code = codeOf(error);
  if (code === undefined) return new StoreFailure({ operation, subject, cause: error, reason: 'refused' });
  const meaning = NETWORK[code] ?? CERTIFICATES[code] ?? meaningOfOther(code);
  return new StoreFailure({ operation, subject, cause: error, code, ...meaning });
}

function meaningOfOther(code: string): Meaning {
  if (/CERT|ERR_TLS/.test(code)) return { reason: 'untrusted', hint: CA_HINT };
  if (/^(?:ERR_SSL|ERR_OSSL)/.test(code)) return { ...NETWORK['EPROTO'], reason: 'untrusted' };
  if (code.startsWith('HPE_')) return { reason: 'refused', cause: `the answer is not HTTP (${code})` };
  return { reason: 'broken' };
}

/** Trying several addresses of a host fails with an AggregateError, whose code is that of the last. */
function codeOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** The text of the first element of this name: S3's error documents are flat. */
function element(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text === undefined || text === '' ? undefined : text;
}

function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

function firstLine(body: string): string | undefined {
  const line = body.trim().split('\n', 1)[0] ?? '';
  return line === '' || line.startsWith('<') ? undefined : line.slice(0, 200);
}

/** Seconds, or a date of HTTP. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return ms > 0 ? ms : undefined;
}
