import { readFileSync } from 'node:fs';

import { DatamoverError } from '../../errors.ts';
import type { OpenOptions } from '../location.ts';
import type { Store } from '../store.ts';
import { formatAddress, type S3Address } from './address.ts';
import { credentialsFrom, given, type Environment } from './credentials.ts';
import { S3Store } from './store.ts';

/** The store of a bucket, by the command's options and the environment. Nothing is asked of the server yet. */
export function openS3(address: S3Address, env: Environment, options: OpenOptions): Store {
  const cacert = options.cacert ?? given(env, 'AWS_CA_BUNDLE') ?? given(env, 'RESTIC_CACERT');
  return new S3Store({
    ...options,
    address,
    credentials: credentialsFrom(env, formatAddress(address)),
    region: options.region ?? given(env, 'AWS_REGION') ?? given(env, 'AWS_DEFAULT_REGION'),
    ca: cacert === undefined || !address.secure ? undefined : readCertificates(cacert),
  });
}

function readCertificates(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new DatamoverError({ operation: 'read certificates', subject: path, cause: error, kind: 'usage' });
  }
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  const cause = 'there is no certificate in PEM format in it';
  throw new DatamoverError({ operation: 'read certificates', subject: path, cause, kind: 'usage' });
}
