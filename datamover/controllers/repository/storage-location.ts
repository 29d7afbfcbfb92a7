import { REASONS } from '../../../api/names.ts';
import type { BackupStorageLocation } from '../../kubernetes/neighbour-resources.ts';
import { TransferFailure } from '../failure.ts';

/** Kinds of object store that speak S3. */
const PROVIDERS = ['aws', 'velero.io/aws', 'datamover.io/s3'];

/** What a BackupStorageLocation says of its bucket. */
export interface BucketOfLocation {
  /** Where repositories go: below `restic`, one of the folders that Velero leaves alone there. */
  readonly location: string;
  readonly region: string;
  /** PEM. */
  readonly ca?: string;
  /** The secret with the keys, in AWS's form. */
  readonly credential: { readonly name: string; readonly key: string };
  readonly profile: string;
}

/** Reads the location; where it is none for S3 the mover cannot use it. */
export function readStorageLocation({ metadata, spec }: BackupStorageLocation): BucketOfLocation {
  const refuse = (cause: string): TransferFailure =>
    new TransferFailure({
      ...{ operation: 'find the repository of BackupStorageLocation', subject: metadata.name ?? '', cause },
      hint: 'make a BackupTarget, or a secret with RESTIC_REPOSITORY of that name',
      reason: REASONS.repositoryMissing,
      retryable: false,
    });
  const { provider = '', config = {}, objectStorage, credential } = spec;
  if (!PROVIDERS.includes(provider)) throw refuse(`its provider ${JSON.stringify(provider)} is none for S3`);
  if (objectStorage === undefined) throw refuse('it names no bucket');
  const region = config['region'] ?? 'us-east-1';
  const url = (config['s3Url'] ?? amazon(region)).replace(/\/+$/, '');
  if (!/^https?:\/\/[^/?#@\s]+$/.test(url)) throw refuse('its s3Url is not https://HOST[:PORT]');
  const prefix = (objectStorage.prefix ?? '').split('/').filter((part) => part !== '');
  return {
    location: ['s3:' + url, objectStorage.bucket, ...prefix, 'restic', 'datamover.io'].join('/'),
    region,
    ...(objectStorage.caCert === undefined || objectStorage.caCert === ''
      ? {}
      : { ca: Buffer.from(objectStorage.caCert, 'base64').toString('utf8') }),
    credential: { name: credential?.name ?? 'cloud-credentials', key: credential?.key ?? 'cloud' },
    profile: config['profile'] ?? 'default',
  };
}

function amazon(region: string): string {
  return region === 'us-east-1' ? 'https://s3.amazonaws.com' : `https://s3.${region}.amazonaws.com`;
}

/** The keys of a profile in AWS's credentials file. */
export function readCredentialsFile(
  text: string,
  profile: string,
): { readonly id: string; readonly secret: string; readonly token?: string } | undefined {
  const values = new Map<string, string>();
  let section = '';
  for (const line of text.split(/\r?\n/)) {
    const head = /^\s*\[\s*(.+?)\s*\]\s*$/.exec(line)?.[1];
    if (head !== undefined) section = head;
    const [, key, value] = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (section === profile && key !== undefined && value !== undefined) values.set(key, value);
  }
  const id = values.get('aws_access_key_id');
  const secret = values.get('aws_secret_access_key');
  const token = values.get('aws_session_token');
  if (id === undefined || secret === undefined || id === '' || secret === '') return undefined;
  return { id, secret, ...(token === undefined || token === '' ? {} : { token }) };
}
