import { deterministicName, secretHere } from '../../../api/derived-names.ts';
import { VELERO, type DataDownload } from '../../../api/neighbours/velero.ts';
import { parseSnapshotReference, type SnapshotReference } from '../../../api/snapshot-reference.ts';
import type { VolumeSnapshotRestore } from '../../../api/volume-snapshot-restore.ts';
import { describeCause } from '../../errors.ts';
import type { Client } from '../../kubernetes/client.ts';
import type { Draft, KubernetesObject, Stored } from '../../kubernetes/object.ts';
import { waitingClaim } from '../restore/waiting-claim.ts';
import type { MoveFlow, Obstacle } from './move-reconciler.ts';
import { copied } from './upload.ts';

type Download = Stored<DataDownload>;

/** DataDownloads: each becomes a VolumeSnapshotRestore in the namespace of the claim that waits. */
export class DownloadFlow implements MoveFlow<DataDownload, VolumeSnapshotRestore> {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  place({ metadata, spec }: Download): { readonly namespace: string; readonly name: string } {
    const { namespace, pvc } = spec.targetVolume;
    return { namespace, name: deterministicName('vsr', metadata.uid, pvc) };
  }

  draft(download: Download): Promise<Draft<VolumeSnapshotRestore> | Obstacle> {
    const { metadata, spec } = download;
    const { namespace, pvc } = spec.targetVolume;
    let reference: SnapshotReference;
    try {
      reference = parseSnapshotReference(spec.snapshotID);
    } catch (error) {
      const cause = `restore ${namespace}/${pvc}: read snapshotID: ${describeCause(error)}`;
      return Promise.resolve({ cause, final: true });
    }
    const { openedBy, repository, snapshotID, sourceNamespace, claim, bytes } = reference;
    return Promise.resolve({
      metadata: {
        ...this.place(download),
        labels: copied(metadata.labels, [VELERO.restoreName, VELERO.restoreUid]),
      },
      spec: {
        volumeSnapshotMoverBackupRef: {
          ...{ resticrepository: repository, snapshotID, sourceNamespace },
          sourcePVCData: { name: claim, size: String(bytes) },
        },
        // In another cluster Velero's namespace and location may be called otherwise; K-03 holds all the same.
        protectedNamespace: metadata.namespace ?? '',
        ...('target' in openedBy
          ? { backupTarget: openedBy.target }
          : { resticSecretRef: { name: secretHere(openedBy.secret, spec.backupStorageLocation) } }),
        target: { claimName: pvc },
      },
    });
  }

  result(): Readonly<Record<string, unknown>> {
    return {};
  }

  waitingClaim({ spec: { targetVolume } }: Download): Promise<Stored<KubernetesObject> | undefined> {
    return waitingClaim(this.#client, targetVolume.namespace, targetVolume.pvc);
  }

  /** Velero leaves nothing to the mover here. */
  cleanUp(): Promise<void> {
    return Promise.resolve();
  }
}
