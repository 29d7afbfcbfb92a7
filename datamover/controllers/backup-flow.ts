import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { REASONS } from '../../api/names.ts';
import type { Stored } from '../kubernetes/object.ts';
import { TransferFailure } from './failure.ts';
import type { Resolved, TransferFlow } from './flow.ts';
import { findRepository, type RepositoryRequest } from './repository/access.ts';
import { findBackupSource, checkContent } from './resolve/backup-source.ts';
import type { CephAccess } from './resolve/ceph-secret.ts';
import { decodeCephCsiHandle } from './resolve/ceph-csi-handle.ts';
import { cephAccessOf, type Site } from './resolve/storage.ts';
import { orMissing } from '../kubernetes/api-error.ts';
import { SNAPSHOT_CONTENTS } from '../kubernetes/neighbour-resources.ts';
import { namingOf, type StatusChange } from './transfer-object.ts';

type Backup = Stored<VolumeSnapshotBackup>;

/** Backups: a snapshot into a repository. */
export class BackupFlow implements TransferFlow<VolumeSnapshotBackup> {
  readonly #site: Site;

  constructor(site: Site) {
    this.#site = site;
  }

  async resolve(object: Backup, signal: AbortSignal): Promise<Resolved> {
    const source = await findBackupSource(this.#site, object, signal);
    const request = this.#request(object, source.claim.name);
    const { repository } = await findRepository(this.#site, request);
    return {
      change: {
        storage: source.storage,
        resticrepository: repository,
        sourcePVCData: source.claim,
        ...(source.node === undefined ? {} : { node: source.node }),
        ...(source.snapshotClass === undefined ? {} : { volumeSnapshotClassName: source.snapshotClass }),
      },
      message: `${source.storage.driver}:${source.storage.location}`,
    };
  }

  repository(object: Backup): RepositoryRequest {
    const claim = object.status?.sourcePVCData?.name;
    if (claim !== undefined) return this.#request(object, claim);
    throw new TransferFailure({
      ...namingOf(object),
      cause: 'its claim is not known',
      reason: REASONS.error,
    });
  }

  #request({ metadata, spec }: Backup, claim: string): RepositoryRequest {
    const namespace = metadata.namespace ?? '';
    return {
      protectedNamespace: spec.protectedNamespace,
      ...(spec.resticSecretRef === undefined ? {} : { resticSecretRef: spec.resticSecretRef }),
      ...(spec.backupTarget === undefined ? {} : { backupTarget: spec.backupTarget }),
      ...{ volume: { namespace, claim }, namespaces: [namespace], writes: true },
    };
  }

  async ceph(object: Backup, signal: AbortSignal): Promise<CephAccess | undefined> {
    if (object.status?.storage?.driver !== 'rbd') return undefined;
    const { cephSecret } = await findBackupSource(this.#site, object, signal);
    const name = object.spec.volumeSnapshotContent.name;
    const content = await orMissing(this.#site.client.of(SNAPSHOT_CONTENTS).get(undefined, name));
    const { handle } = checkContent(content, name, object.metadata.namespace ?? '');
    if (cephSecret === undefined) return undefined;
    const { access } = await cephAccessOf(this.#site, decodeCephCsiHandle(handle).clusterId, cephSecret);
    return access;
  }

  /** The agent has written all that there is to say. */
  finish(): Promise<StatusChange> {
    return Promise.resolve({});
  }

  /** A claim that is backed up has its volume. */
  waitingClaim(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** Nothing is made for a backup. */
  cleanUp(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }
}
