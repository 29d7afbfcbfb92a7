/** Where the bucket's name goes: into the path, or into the host name (virtual-host style). */
export type BucketStyle = 'path' | 'dns';

/** A place in a bucket, without any credentials. */
export interface S3Address {
  readonly secure: boolean;
  /** Host name or IP address; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly bucket: string;
  /** Folder of the repository in the bucket, without slashes at its ends; empty for the bucket itself. */
  readonly prefix: string;
}

/** Where one request goes. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** The Host header. */
  readonly authority: string;
  /** Percent-encoded, as sent and as signed. */
  readonly path: string;
}

const AMAZON = /^s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com(\.cn)?$/;
const AMAZON_GLOBAL = 's3.amazonaws.com';

/** The place in restic's spelling: the port is left out where it is the protocol's own. */
export function formatAddress({ secure, host, port, bucket, prefix }: S3Address): string {
  const folder = prefix === '' ? '' : `/${prefix}`;
  return `s3:${secure ? 'https' : 'http'}://${authorityOf(host, port, secure)}/${bucket}${folder}`;
}

/** Amazon wants the bucket in the host name; most others know it only in the path. A dot in it would not fit the certificate. */
export function styleFor({ host, secure, bucket }: S3Address): BucketStyle {
  return AMAZON.test(host) && !(secure && bucket.includes('.')) ? 'dns' : 'path';
}

/** The key of a file in the bucket. */
export function keyOf({ prefix }: S3Address, path: string): string {
  return prefix === '' ? path : `${prefix}/${path}`;
}

export function targetOf(address: S3Address, style: BucketStyle, region: string, key: string): Target {
  const { bucket, port, secure } = address;
  // Amazon's global name answers for us-east-1 and redirects for all others.
  const base =
    address.host === AMAZON_GLOBAL && region !== 'us-east-1' ? `s3.${region}.amazonaws.com` : address.host;
  const host = style === 'dns' ? `${bucket}.${base}` : base;
  const path = style === 'dns' ? `/${encodeKey(key)}` : `/${bucket}/${encodeKey(key)}`;
  return { host, port, authority: authorityOf(host, port, secure), path };
}

function authorityOf(host: string, port: number, secure: boolean): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return port === (secure ? 443 : 80) ? name : `${name}:${port}`;
}

/** The URI encoding of AWS Signature Version 4: all but A-Z a-z 0-9 - . _ ~ and the slashes between folders. */
export function encodeKey(key: string): string {
  return key.split('/').map(encodeSegment).join('/');
}

function encodeSegment(segment: string): string {
  return encodeURIComponent(segment).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
