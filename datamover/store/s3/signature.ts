import { createHash, createHmac } from 'node:crypto';

import type { Target } from './address.ts';

/** Keys for a bucket. They live here and in the signatures, nowhere else. */
export interface Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken?: string | undefined;
}

export interface SignedHeaders {
  readonly Host: string;
  readonly 'x-amz-checksum-sha256'?: string;
  readonly 'x-amz-content-sha256': string;
  readonly 'x-amz-date': string;
  readonly 'x-amz-security-token'?: string;
  readonly Authorization: string;
}

export const EMPTY_SHA256 = createHash('sha256').digest('hex');

/**
 * Signs requests with AWS Signature Version 4 (AWS General Reference, "Signature Version 4 signing process"). The key for a day
 * takes four HMACs and is kept; a signature then costs two hashes of a few hundred bytes.
 */
export class Signer {
  readonly region: string;
  readonly #credentials: Credentials;
  #day = '';
  #dayKey: Buffer = Buffer.alloc(0);

  constructor(credentials: Credentials, region: string) {
    this.#credentials = credentials;
    this.region = region;
  }

  /**
   * The headers of a request without a query. `payloadHash` is the SHA-256 of the body in hex; with `checksum` it is also given
   * as the checksum that the server shall keep.
   */
  sign(
    method: string,
    target: Target,
    payloadHash: string,
    { checksum = false, now = new Date() } = {},
  ): SignedHeaders {
    const time = now.toISOString().replace(/[-:]|\.\d{3}/g, '');
    const day = time.slice(0, 8);
    const { accessKey, sessionToken } = this.#credentials;
    const headers = {
      ...(checksum ? { 'x-amz-checksum-sha256': Buffer.from(payloadHash, 'hex').toString('base64') } : {}),
      'x-amz-content-sha256': payloadHash,
      'x-amz-date': time,
      ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
    };

    // Names in lower case and in order: host sorts before all of x-amz-*.
    const lines = Object.entries({ host: target.authority, ...headers });
    const names = lines.map(([name]) => name).join(';');
    const canonical = [
      method,
      target.path,
      '',
      ...lines.map(([name, value]) => `${name}:${value}`),
      '',
      names,
      payloadHash,
    ].join('\n');
    const scope = `${day}/${this.region}/s3/aws4_request`;
    const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
    const signature = hmac(this.#keyFor(day), toSign).toString('hex');
    const Authorization = `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope},SignedHeaders=${names},Signature=${signature}`;
    return { Host: target.authority, ...headers, Authorization };
  }

  #keyFor(day: string): Buffer {
    if (day !== this.#day) {
      const parts = [day, this.region, 's3', 'aws4_request'];
      const start: Buffer = Buffer.from(`AWS4${this.#credentials.secretKey}`);
      this.#dayKey = parts.reduce((key, part) => hmac(key, part), start);
      this.#day = day;
    }
    return this.#dayKey;
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
