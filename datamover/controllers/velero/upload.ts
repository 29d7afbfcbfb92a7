import { deterministicName, secretOfLocation } from '../../../api/derived-names.ts';
import type { DataUpload } from '../../../api/neighbours/velero.ts';
import { VELERO } from '../../../api/neighbours/velero.ts';
import { formatSnapshotReference, parseSnapshotReference } from '../../../api/snapshot-reference.ts';
import type { VolumeSnapshotBackup } from '../../../api/volume-snapshot-backup.ts';
import type { DataMoverClass } from '../../../api/data-mover-class.ts';
import { orMissing } from '../../kubernetes/api-error.ts';
import type { Client } from '../../kubernetes/client.ts';
import { SNAPSHOTS } from '../../kubernetes/neighbour-resources.ts';
import type { Draft, Stored } from '../../kubernetes/object.ts';
import { CLAIMS } from '../../kubernetes/storage-resources.ts';
import { chooseMover } from '../../../api/mover-class.ts';
import { settleSnapshots } from './kept-snapshots.ts';
import type { MoveFlow, Obstacle } from './move-reconciler.ts';

type Upload = Stored<DataUpload>;
type Backup = Stored<VolumeSnapshotBackup>;

/** DataUploads: each becomes a VolumeSnapshotBackup in the claim's namespace. */
export class UploadFlow implements MoveFlow<DataUpload, VolumeSnapshotBackup> {
  readonly #client: Client;
  readonly #classes: () => readonly DataMoverClass[];

  constructor(client: Client, classes: () => readonly DataMoverClass[]) {
    this.#client = client;
    this.#classes = classes;
  }

  place({ metadata, spec }: Upload): { readonly namespace: string; readonly name: string } {
    const name = deterministicName('vsb', metadata.uid, spec.sourcePVC);
    return { namespace: spec.sourceNamespace, name };
  }

  async draft(upload: Upload): Promise<Draft<VolumeSnapshotBackup> | Obstacle> {
    const { metadata, spec } = upload;
    const name = spec.csiSnapshot?.volumeSnapshot ?? '';
    const subject = `back up ${spec.sourceNamespace}/${spec.sourcePVC}`;
    const snapshot = await orMissing(this.#client.of(SNAPSHOTS).get(spec.sourceNamespace, name));
    if (snapshot === undefined)
      return { cause: `${subject}: there is no VolumeSnapshot ${name}`, final: false };
    const content = snapshot.status?.boundVolumeSnapshotContentName;
    if (content === undefined) {
      const said = snapshot.status?.error?.message;
      const cause = `${subject}: VolumeSnapshot ${name} has no content yet${said === undefined ? '' : `: ${said}`}`;
      return { cause, final: false };
    }
    const claim = await orMissing(this.#client.of(CLAIMS).get(spec.sourceNamespace, spec.sourcePVC));
    const choice = chooseMover(this.#classes(), undefined, claim?.metadata);
    if (choice.is !== 'ours') {
      const why = choice.is === 'others' ? choice.because : `there is no DataMoverClass ${choice.name}`;
      return { cause: `${subject}: ${why}`, final: true };
    }
    const target = choice.of?.spec.backupTarget;
    return {
      metadata: {
        ...this.place(upload),
        labels: copied(metadata.labels, [VELERO.backupName, VELERO.backupUid]),
      },
      spec: {
        ...{ volumeSnapshotContent: { name: content }, protectedNamespace: metadata.namespace ?? '' },
        ...(target === undefined
          ? { resticSecretRef: { name: secretOfLocation(spec.backupStorageLocation) } }
          : { backupTarget: target }),
        ...(spec.parentSnapshot === 'none' ? { base: 'none' } : {}),
      },
    };
  }

  result({ spec }: Upload, { metadata, spec: transfer, status }: Backup): Readonly<Record<string, unknown>> {
    const { storage, progress, format = 'image', amounts } = status ?? {};
    const openedBy =
      transfer.backupTarget === undefined
        ? { secret: transfer.resticSecretRef?.name ?? '' }
        : { target: transfer.backupTarget };
    const totalBytes = progress?.totalBytes ?? storage?.bytes ?? 0;
    const snapshotID = formatSnapshotReference({
      ...{ repository: status?.resticrepository ?? '', snapshotID: status?.snapshotID ?? '', openedBy },
      ...{ protectedNamespace: transfer.protectedNamespace, sourceNamespace: metadata.namespace ?? '' },
      ...{ claim: status?.sourcePVCData?.name ?? spec.sourcePVC, driver: storage?.driver ?? 'rbd', format },
      bytes: storage?.bytes ?? totalBytes,
    });
    return {
      ...{ snapshotID, nodeOS: 'linux', progress: { totalBytes, bytesDone: totalBytes } },
      ...(amounts === undefined ? {} : { incrementalBytes: amounts.changed ?? amounts.uploaded }),
      dataMoverResult: told(status),
    };
  }

  waitingClaim(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** With moved data the snapshot is the mover's: Velero never deletes it. The last one stays as a base. */
  async cleanUp(upload: Upload): Promise<void> {
    const { spec, status } = upload;
    const { namespace, name: transfer } = this.place(upload);
    const ended = {
      namespace,
      transfer,
      claim: spec.sourcePVC,
      snapshot: spec.csiSnapshot?.volumeSnapshot ?? '',
    };
    if (ended.snapshot === '') return;
    // ZFS leaves a bookmark by which the next backup tells what changed: there no snapshot has to stay.
    const isBase =
      status?.phase === 'Completed' && parseSnapshotReference(status.snapshotID ?? '').driver === 'rbd';
    await settleSnapshots(this.#client, { ...ended, isBase }, ({ metadata }) => {
      const choice = chooseMover(this.#classes(), undefined, metadata);
      return choice.is === 'ours' ? (choice.of?.spec.keepSnapshot ?? 'Last') : 'None';
    });
  }
}

export function copied(
  labels: Readonly<Record<string, string>> | undefined,
  keys: readonly string[],
): Record<string, string> {
  return Object.fromEntries(
    keys.flatMap((key) => (labels?.[key] === undefined ? [] : [[key, labels[key]] as const])),
  );
}

/** What the transfer's status says of how it went: the transfer itself goes, the DataUpload stays as long as the backup. */
function told({ base, changes, amounts }: NonNullable<Backup['status']> = {}): Record<string, string> {
  const facts = {
    ...{ base: base?.snapshotID, mechanism: changes?.mechanism, because: changes?.because },
    ...{ bytesRead: amounts?.read, bytesChanged: amounts?.changed, bytesUploaded: amounts?.uploaded },
  };
  return Object.fromEntries(
    Object.entries(facts).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]])),
  );
}
