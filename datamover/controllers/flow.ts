import type { KubernetesObject, Stored } from '../kubernetes/object.ts';
import type { TransferKind, StatusChange } from './transfer-object.ts';
import type { RepositoryRequest } from './repository/access.ts';
import type { CephAccess } from './resolve/ceph-secret.ts';

/** What is different between a backup and a restore. Every method throws a TransferFailure, or an ApiError that may pass. */
export interface TransferFlow<T extends TransferKind> {
  /** Follows the object to its volume on the storage. A number is the milliseconds after which to look again. */
  resolve(object: Stored<T>, signal: AbortSignal): Promise<Resolved | Waiting>;
  /** The repository of a resolved transfer. */
  repository(object: Stored<T>): RepositoryRequest;
  /** What opens the Ceph cluster of a resolved transfer; undefined for other storages. */
  ceph(object: Stored<T>, signal: AbortSignal): Promise<CephAccess | undefined>;
  /** What is to be done when the bytes are there. May be called again. */
  finish(object: Stored<T>): Promise<StatusChange | Waiting>;
  /** Whom nobody else would tell that the transfer came to nothing: the claim that still waits for its volume. */
  waitingClaim(object: Stored<T>): Promise<Stored<KubernetesObject> | undefined>;
  /** Takes away all that was made for it, save its secret and lease; gives what is left and has to be waited for. */
  cleanUp(object: Stored<T>): Promise<readonly string[]>;
}

export interface Resolved {
  readonly change: StatusChange;
  /** For the condition: where the volume is. */
  readonly message: string;
}

/** Something else has to happen first. */
export interface Waiting {
  readonly waitMs: number;
  /** For people. */
  readonly because: string;
}

export function isWaiting(answer: object): answer is Waiting {
  return 'waitMs' in answer;
}
