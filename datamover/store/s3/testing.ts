import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { parseLocation } from '../location.ts';
import type { Subject } from '../store.suite.ts';
import type { Store } from '../store.ts';
import type { S3Address } from './address.ts';
import { S3Store, type S3Options } from './store.ts';

/** What the tests need to know of a server; e2e/servers starts real ones. */
export interface TestServer {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly caFile?: string | undefined;
  readonly domain: string;
  stop(): Promise<void>;
}

export interface TestPlace extends Partial<Omit<S3Options, 'address'>> {
  readonly bucket?: string;
  readonly prefix?: string;
}

/** The options of a store in a bucket of its own on a server of the tests. */
export function s3Options(server: TestServer, place: TestPlace = {}): S3Options {
  const { bucket = `test-${randomBytes(6).toString('hex')}`, prefix = '', ...options } = place;
  const location = parseLocation(`s3:${server.endpoint}/${bucket}`);
  if (location.kind !== 's3') throw new Error('the endpoint of the server is no S3 location');
  return {
    address: { ...location, prefix, ...hostFor(server, options) },
    credentials: { accessKey: server.accessKey, secretKey: server.secretKey },
    ...(server.caFile === undefined ? {} : { ca: readFileSync(server.caFile, 'utf8') }),
    ...options,
  };
}

/** A bucket's name can only stand before a name, not before an IP address. */
function hostFor({ domain }: TestServer, { style }: Partial<S3Options>): Partial<S3Address> {
  return style === 'dns' ? { host: domain } : {};
}

export async function s3Subject(
  starting: Promise<TestServer>,
  place: TestPlace = {},
  wrap: (store: Store) => Store = (store) => store,
): Promise<Subject> {
  const server = await starting;
  const options = s3Options(server, place);
  return {
    store: wrap(new S3Store(options)),
    again: () => new S3Store(options),
    dispose: () => server.stop(),
  };
}
