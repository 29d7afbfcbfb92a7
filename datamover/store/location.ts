import { DatamoverError } from '../errors.ts';
import { Limits, LimitStore } from './limit.ts';
import { LocalStore } from './local/store.ts';
import { RetryStore, type RetryOptions } from './retry.ts';
import { formatAddress, type BucketStyle, type S3Address } from './s3/address.ts';
import type { RequestKind } from './s3/connection.ts';
import type { Environment } from './s3/credentials.ts';
import type { Store } from './store.ts';

/** Where a repository is. */
export type Location =
  { readonly kind: 'local'; readonly path: string } | ({ readonly kind: 's3' } & S3Address);

export interface OpenOptions {
  /** File with PEM certificates of authorities to trust beside the usual ones; before AWS_CA_BUNDLE and RESTIC_CACERT. */
  readonly cacert?: string | undefined;
  readonly region?: string | undefined;
  /** Where the bucket's name goes; default: in the host name for Amazon, else in the path. */
  readonly style?: BucketStyle | undefined;
  readonly connections?: number | undefined;
  readonly stallMs?: number | undefined;
  /** Bytes per second and requests at once; may change while the store is in use. */
  readonly limits?: Limits | undefined;
  readonly retry?: RetryOptions | undefined;
  /** Told of every request to an S3 server. */
  readonly onRequest?: ((kind: RequestKind) => void) | undefined;
}

const OTHER_BACKENDS = ['azure', 'b2', 'gs', 'rclone', 'rest', 'sftp', 'swift'];

/**
 * Reads a location in restic's spellings: `s3:https://host/bucket/prefix`, `s3:http://…`, `s3:host/bucket/prefix` (https),
 * `local:path`, or a path. Throws a usage error that does not repeat credentials.
 */
export function parseLocation(text: string): Location {
  if (text.startsWith('s3:')) return { kind: 's3', ...parseS3(text) };
  if (text.startsWith('local:')) return localAt(text.slice('local:'.length));
  const scheme = /^([a-z0-9+]+):/.exec(text)?.[1];
  if (scheme === undefined) return localAt(text);
  const hint =
    'datamover knows s3:https://host/bucket/prefix and folders; a path with a colon is written local:…';
  const cause = OTHER_BACKENDS.includes(scheme)
    ? `restic's ${scheme} backend is not supported`
    : `${scheme}: is not known`;
  throw new DatamoverError({ operation: 'read location of the repository', cause, hint, kind: 'usage' });
}

/** The location in restic's spelling. */
export function formatLocation(location: Location): string {
  return location.kind === 's3' ? formatAddress(location) : location.path;
}

/**
 * The store at a location: repeats what fails in passing, and keeps to `options.limits`. Keys come from the environment
 * or from a file that it names (see credentials.ts), the region from AWS_REGION or AWS_DEFAULT_REGION. Nothing is
 * asked of the server yet.
 */
export async function openStore(
  location: Location | string,
  env: Environment = process.env,
  options: OpenOptions = {},
): Promise<Store> {
  const place = typeof location === 'string' ? parseLocation(location) : location;
  const store = place.kind === 's3' ? await openS3(place, env, options) : new LocalStore(place.path);
  return new RetryStore(new LimitStore(store, options.limits ?? new Limits()), options.retry);
}

/** Loaded when it is needed: with HTTP and TLS it costs 10 MiB and 50 ms, which a local repository need not pay. */
async function openS3(address: S3Address, env: Environment, options: OpenOptions): Promise<Store> {
  const s3 = await import('./s3/open.ts');
  return s3.openS3(address, env, options);
}

function localAt(path: string): Location {
  if (path !== '') return { kind: 'local', path };
  const operation = 'read location of the repository';
  throw new DatamoverError({ operation, cause: 'the path is empty', kind: 'usage' });
}

function parseS3(text: string): S3Address {
  const rest = text.slice('s3:'.length).replace(/^\/\//, '');
  const url = URL.parse(/^https?:\/\//.test(rest) ? rest : `https://${rest}`);
  if (url === null || url.hostname === '') throw badS3('there is no host in it');
  if (url.username !== '' || url.password !== '') {
    throw badS3('it holds credentials', 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead');
  }
  if (url.search !== '' || url.hash !== '') throw badS3('? and # have no meaning in it');
  const [bucket = '', ...folders] = decoded(url.pathname).split('/').filter(Boolean);
  if (bucket === '') throw badS3('there is no bucket in it');
  const secure = url.protocol === 'https:';
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return { secure, host: url.hostname.replace(/^\[|\]$/g, ''), port, bucket, prefix: folders.join('/') };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw badS3('a % in it does not begin a character code');
  }
}

function badS3(cause: string, hint = 'write s3:https://host/bucket/prefix'): DatamoverError {
  return new DatamoverError({
    operation: 'read location of the repository',
    subject: 's3:…',
    cause,
    hint,
    kind: 'usage',
  });
}
