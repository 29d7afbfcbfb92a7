import type { Client } from 'minio';

import { findStoreFailure } from '../failure.ts';
import { styleFor, type BucketStyle, type S3Address } from './address.ts';
import type { Connection } from './connection.ts';
import type { Credentials } from './signature.ts';
import { MinioTransport } from './transport.ts';
import type { Call } from './watch.ts';

export const DEFAULT_REGION = 'us-east-1';
/** The most that S3 answers at once. */
const PAGE = 1000;

export interface ObjectInfo {
  /** Bytes. */
  readonly size: number;
  readonly modified?: Date;
}

export interface ListedObject extends ObjectInfo {
  readonly key: string;
}

/** The bucket itself and its listings, by the package `minio`. */
export class Bucket {
  readonly #name: string;
  readonly #transport: MinioTransport;
  readonly #connect: () => Promise<Client>;
  #client: Promise<Client> | undefined;
  #region: string | undefined;

  constructor(
    connection: Connection,
    address: S3Address,
    credentials: Credentials,
    style: BucketStyle = styleFor(address),
  ) {
    this.#name = address.bucket;
    this.#transport = new MinioTransport(connection);
    const { accessKey, secretKey, sessionToken } = credentials;
    this.#connect = async () => {
      // Loaded when it is needed: the package costs 35 MiB and 0.1 s, which a local repository need not pay.
      const minio = await import('minio');
      return new minio.Client({
        endPoint: address.host,
        port: address.port,
        useSSL: address.secure,
        pathStyle: style === 'path',
        accessKey,
        secretKey,
        ...(sessionToken === undefined ? {} : { sessionToken }),
        ...(this.#region === undefined ? {} : { region: this.#region }),
        transport: this.#transport,
        transportAgent: connection.agent,
        // Repeating is the business of RetryStore.
        retryOptions: { disableRetry: true },
      });
    };
  }

  /** All further requests are signed for this region. */
  set region(region: string) {
    this.#region = region;
  }

  async #ready(): Promise<Client> {
    const client = await (this.#client ??= this.#connect());
    if (this.#region !== undefined) client.region = this.#region;
    return client;
  }

  /** Where the bucket lies. Keys that may not ask, and servers that know no regions, get the default. */
  async findRegion(call: Call): Promise<string> {
    try {
      const client = await this.#ready();
      return await this.#transport.run(call, () => client.getBucketRegionAsync(this.#name));
    } catch (error) {
      const failure = findStoreFailure(error);
      if (failure?.region !== undefined) return failure.region;
      if (failure?.code === 'AccessDenied' || failure?.reason === 'refused') return DEFAULT_REGION;
      throw error;
    }
  }

  /** Makes the bucket unless it is there. */
  async create(region: string, call: Call): Promise<void> {
    const client = await this.#ready();
    await this.#transport.run(call, async () => {
      try {
        await client.listObjectsV2Query(this.#name, '', '', '', 1, '');
        return;
      } catch (error) {
        if (findStoreFailure(error)?.code !== 'NoSuchBucket') throw error;
      }
      try {
        await client.makeBucket(this.#name, region);
      } catch (error) {
        // Somebody else with the same keys made it in this moment.
        if (findStoreFailure(error)?.code !== 'BucketAlreadyOwnedByYou') throw error;
      }
    });
  }

  /** Size in bytes and time of an object. */
  async stat(key: string, call: Call): Promise<ObjectInfo> {
    const client = await this.#ready();
    const { size, lastModified } = await this.#transport.run(call, () => client.statObject(this.#name, key));
    return { size, modified: lastModified };
  }

  /** S3 does not mind if there is no such object. */
  async remove(key: string, call: Call): Promise<void> {
    const client = await this.#ready();
    await this.#transport.run(call, () => client.removeObject(this.#name, key));
  }

  /**
   * The objects with this prefix whose keys sort after `after` and not after `last`, in order, 1000 with each request. Keys are
   * ASCII where it matters, so that JavaScript's order is that of S3.
   */
  async *list(prefix: string, after: string, last: string, call: Call): AsyncIterable<ListedObject> {
    const client = await this.#ready();
    for (let token = ''; ;) {
      const page = await this.#transport.run(call, () =>
        client.listObjectsV2Query(this.#name, prefix, token, '', PAGE, after),
      );
      let key = '';
      for (const { name, size, lastModified } of page.objects) {
        key = name ?? key;
        yield { key, size, ...(lastModified === undefined ? {} : { modified: lastModified }) };
      }
      if (!page.isTruncated || key > last) return;
      token = page.nextContinuationToken;
    }
  }
}
