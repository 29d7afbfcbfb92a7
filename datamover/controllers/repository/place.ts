import type { BackupTargetSpec } from '../../../api/backup-target.ts';
import { REASONS } from '../../../api/names.ts';
import { TransferFailure } from '../failure.ts';

/** What shares a repository; a secret's is always shared by a namespace. */
export type Scope = BackupTargetSpec['scope'];

export interface BackedUpVolume {
  /** The claim's namespace and name when it was backed up. */
  readonly namespace: string;
  readonly claim: string;
}

/** No user and no password before the host: what is written into statuses has none. */
const LOCATION = /^(s3:(https?:\/\/)?[^/?#@\s]+(\/[^/?#\s]+)+|(local:)?(\/[^/?#\s]+)+)$/;

/** A location in restic's spelling without a slash at its end; refuses what could hold credentials or climb up. */
export function checkLocation(location: string): string {
  const plain = location.replace(/\/+$/, '');
  if (LOCATION.test(plain) && !plain.split('/').includes('..')) return plain;
  throw new TransferFailure({
    operation: 'read location of the repository',
    // Not repeated: it may hold a password.
    cause: 'it is not of the form s3:https://host/bucket/prefix without credentials',
    reason: REASONS.repositoryMissing,
    retryable: false,
  });
}

/** Where the repository of a volume is, below its target's location. */
export function repositoryOf(location: string, scope: Scope, volume: BackedUpVolume): string {
  const base = checkLocation(location);
  switch (scope) {
    case 'Target':
      return base;
    case 'Namespace':
      return `${base}/${volume.namespace}`;
    case 'Volume':
      return `${base}/${volume.namespace}/${volume.claim}`;
  }
}

/** Whether a repository that an object names is its target's location or lies below it (K-03). */
export function liesWithin(location: string, repository: string): boolean {
  const base = checkLocation(location);
  let named: string;
  try {
    named = checkLocation(repository);
  } catch {
    return false;
  }
  return named === base || named.startsWith(`${base}/`);
}
