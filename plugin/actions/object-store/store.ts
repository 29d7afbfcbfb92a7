import { createHash } from 'node:crypto';
import type { Client } from 'minio';
import type { Log } from '../../goplugin/log.ts';
import type { ObjectStore } from '../contract.ts';
import { sentence } from '../wire/call.ts';
import { checksumHeader } from './checksum.ts';
import type { S3Config } from './config.ts';
import { connect } from './connection.ts';
import { findCredentials } from './credentials.ts';
import { cutIntoParts, type Part } from './parts.ts';
import { errorCode, withRetries } from './retry.ts';

type Headers = Readonly<Record<string, string>>;
interface Uploaded {
  part: number;
  etag: string;
}

/** The longest that signature version 4 allows. */
const LONGEST_URL_SECONDS = 7 * 24 * 60 * 60;

/** Velero's archives in an S3 bucket. */
export class S3ObjectStore implements ObjectStore {
  readonly #config: S3Config;
  readonly #client: Client;
  readonly #publicClient: Client;
  readonly #log: Log;

  private constructor(config: S3Config, client: Client, publicClient: Client, log: Log) {
    this.#config = config;
    this.#client = client;
    this.#publicClient = publicClient;
    this.#log = log;
  }

  static async open(config: S3Config, log: Log): Promise<S3ObjectStore> {
    const credentials = await findCredentials(config, process.env);
    const client = connect(config, credentials, config.endpoint);
    const samePlace = config.publicEndpoint === config.endpoint;
    const publicClient = samePlace ? client : connect(config, credentials, config.publicEndpoint);
    return new S3ObjectStore(config, client, publicClient, log);
  }

  async put(bucket: string, key: string, body: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    await this.#named('upload', bucket, key, async () => {
      let upload: { id: string; parts: Uploaded[] } | undefined;
      try {
        for await (const part of cutIntoParts(body)) {
          signal.throwIfAborted();
          if (part.last && upload === undefined) return await this.#putWhole(bucket, key, part.body);
          upload ??= { id: await this.#beginUpload(bucket, key), parts: [] };
          upload.parts.push(await this.#putPart(bucket, key, upload.id, part));
        }
        signal.throwIfAborted();
        if (upload !== undefined)
          await this.#client.completeMultipartUpload(bucket, key, upload.id, upload.parts);
      } catch (error) {
        if (upload !== undefined) await this.#abandon(bucket, key, upload.id);
        throw error;
      }
    });
  }

  exists(bucket: string, key: string): Promise<boolean> {
    return this.#named('look for', bucket, key, async () => {
      try {
        const headers = { ...this.#config.customerKeyHeaders };
        (
          await this.#client.makeRequestAsync({
            method: 'HEAD',
            bucketName: bucket,
            objectName: key,
            headers,
          })
        ).resume();
        return true;
      } catch (error) {
        if (/^(NotFound|NoSuchKey)$/.test(errorCode(error))) return false;
        throw error;
      }
    });
  }

  async get(bucket: string, key: string, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const headers = { ...this.#config.customerKeyHeaders };
    const answer = await this.#named('download', bucket, key, () =>
      this.#client.makeRequestAsync({ method: 'GET', bucketName: bucket, objectName: key, headers }),
    );
    const stop = (): void => void answer.destroy(new Error('Velero hung up'));
    signal.addEventListener('abort', stop, { once: true });
    answer.once('close', () => signal.removeEventListener('abort', stop));
    return answer;
  }

  async listCommonPrefixes(bucket: string, prefix: string, delimiter: string): Promise<string[]> {
    const { prefixes } = await this.#list(bucket, prefix, delimiter);
    return prefixes;
  }

  async listObjects(bucket: string, prefix: string): Promise<string[]> {
    const { keys } = await this.#list(bucket, prefix, '');
    return keys;
  }

  async delete(bucket: string, key: string): Promise<void> {
    await this.#named('delete', bucket, key, () => this.#client.removeObject(bucket, key));
  }

  signedUrl(bucket: string, key: string, seconds: number): Promise<string> {
    const time = Math.min(Math.max(seconds, 1), LONGEST_URL_SECONDS);
    return this.#named('sign a URL for', bucket, key, () =>
      this.#publicClient.presignedGetObject(bucket, key, time),
    );
  }

  /** Each page is asked for after the one before it; a listing that fails is no listing. */
  async #list(
    bucket: string,
    prefix: string,
    delimiter: string,
  ): Promise<{ keys: string[]; prefixes: string[] }> {
    const keys: string[] = [];
    const prefixes: string[] = [];
    for (let token: string | undefined = ''; token !== undefined;) {
      const from: string = token;
      const page = await this.#named('list', bucket, prefix, () =>
        this.#client.listObjectsV2Query(bucket, prefix, from, delimiter, 1000, ''),
      );
      for (const entry of page.objects) {
        if (entry.prefix !== undefined) prefixes.push(entry.prefix);
        else keys.push(entry.name);
      }
      token = page.isTruncated ? page.nextContinuationToken : undefined;
    }
    return { keys, prefixes };
  }

  async #putWhole(bucket: string, key: string, body: Buffer): Promise<void> {
    const { checksum, newObjectHeaders, customerKeyHeaders } = this.#config;
    const sum = checksum === undefined ? contentMd5(body) : checksumHeader(checksum, body);
    await this.#send('upload', bucket, key, { ...newObjectHeaders, ...customerKeyHeaders, ...sum }, body);
  }

  #beginUpload(bucket: string, key: string): Promise<string> {
    const headers = { ...this.#config.newObjectHeaders, ...this.#config.customerKeyHeaders };
    return withRetries('begin an upload', this.#log, () =>
      this.#client.initiateNewMultipartUpload(bucket, key, { ...headers }),
    );
  }

  /** Parts are checked by MD5: S3 wants a checksum of the whole object from who gives checksums of parts. */
  async #putPart(bucket: string, key: string, uploadId: string, { number, body }: Part): Promise<Uploaded> {
    const headers = { ...this.#config.customerKeyHeaders, ...contentMd5(body) };
    const query = `partNumber=${number}&uploadId=${encodeURIComponent(uploadId)}`;
    return { part: number, etag: await this.#send('upload', bucket, key, headers, body, query) };
  }

  async #send(
    what: string,
    bucketName: string,
    objectName: string,
    headers: Headers,
    body: Buffer,
    query = '',
  ) {
    const answer = await withRetries(what, this.#log, () =>
      this.#client.makeRequestAsync(
        { method: 'PUT', bucketName, objectName, headers: { ...headers }, query },
        body,
      ),
    );
    answer.resume();
    return (answer.headers.etag ?? '').replaceAll('"', '');
  }

  /** What was uploaded of a broken upload costs money for as long as nobody removes it. */
  async #abandon(bucket: string, key: string, uploadId: string): Promise<void> {
    try {
      await this.#client.abortMultipartUpload(bucket, key, uploadId);
    } catch (error) {
      this.#log.info(`parts of a broken upload of ${key} stay in bucket ${bucket}: ${sentence(error)}`);
    }
  }

  /** Retries, and an error that says what was done to what. */
  async #named<T>(what: string, bucket: string, key: string, attempt: () => Promise<T>): Promise<T> {
    try {
      // A stream can be read once only: uploads repeat their parts instead.
      return await (what === 'upload' ? attempt() : withRetries(`${what} ${key}`, this.#log, attempt));
    } catch (error) {
      const code = errorCode(error);
      const reason = sentence(error);
      const cause = code === '' || reason.includes(code) ? reason : `${code}: ${reason}`;
      throw new Error(`${what} ${bucket}/${key}: ${cause}`, { cause: error });
    }
  }
}

function contentMd5(body: Buffer): Headers {
  return { 'content-md5': createHash('md5').update(body).digest('base64') };
}
