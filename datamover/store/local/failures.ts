import { StoreFailure, type StoreFailureReason } from '../failure.ts';
import { isErrno } from '../../errors.ts';

interface Meaning {
  readonly reason: StoreFailureReason;
  readonly cause: string;
  readonly hint?: string;
}

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENOENT: { reason: 'missing', cause: 'no such file' },
  EEXIST: { reason: 'refused', cause: 'a file is in the place of a folder' },
  ENOTDIR: { reason: 'refused', cause: 'a part of the path is not a folder' },
  EACCES: {
    reason: 'forbidden',
    cause: 'permission denied',
    hint: 'check the owner and mode of the folder and of the file',
  },
  EPERM: {
    reason: 'forbidden',
    cause: 'operation not permitted',
    hint: 'check the owner and mode of the folder and of the file',
  },
  EROFS: { reason: 'forbidden', cause: 'the file system is read-only' },
  ENOSPC: {
    reason: 'full',
    cause: 'no space left on the device',
    hint: 'free space there, or forget and prune old snapshots',
  },
  EDQUOT: {
    reason: 'full',
    cause: 'the disk quota is used up',
    hint: 'raise the quota, or forget and prune old snapshots',
  },
  EFBIG: {
    reason: 'full',
    cause: 'the file system or a limit of this process does not allow a file this long',
  },
  EMFILE: {
    reason: 'broken',
    cause: 'this process has too many open files',
    hint: 'raise the limit of open files (ulimit -n)',
  },
};

/** Says in plain words what the file system's error means. Unknown ones (EIO) may pass: a network file system recovers. */
export function localFailure(operation: string, subject: string, error: unknown): StoreFailure {
  if (error instanceof StoreFailure) return error;
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
  if (typeof code !== 'string')
    return new StoreFailure({ operation, subject, cause: error, reason: 'refused' });
  const meaning = MEANINGS[code] ?? { reason: 'broken', cause: plain(error, code) };
  return new StoreFailure({ operation, subject, code, ...meaning });
}

/** Node's text repeats code, call and path: `EIO: i/o error, write`. Only the middle is news. */
function plain(error: unknown, code: string): string {
  const text = isErrno(error, code) ? error.message : code;
  return text.replace(`${code}: `, '').replace(/, \w+( '.*)?$/, '') + ` (${code})`;
}
