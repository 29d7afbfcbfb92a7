import { labelValue } from '../../api/derived-names.ts';
import { BACKUP_ANNOTATIONS, LABELS } from '../../api/names.ts';
import { VELERO } from '../../api/neighbours/velero.ts';
import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { KubernetesClient } from '../kubernetes/client.ts';
import { openCluster } from '../kubernetes/open.ts';
import { RESOURCES } from '../kubernetes/resources.ts';
import { secretOf } from '../moving/backup.ts';
import { openSite } from '../moving/cluster.ts';
import { requestDeletion, type Freed } from '../moving/free.ts';
import { isArchivedFor, isOfBackup, storageLocationOf } from '../moving/velero-marks.ts';
import type { DeleteItemAction, KubernetesItem, VeleroBackup } from './contract.ts';
import { BACKUPS } from './moved-resources.ts';

/** Frees what the VolumeSnapshotBackups of a deleted backup carried away, and removes them and the restores that were made from them. */
export const freeBackup: DeleteItemAction = {
  kind: 'DeleteItemAction',
  name: 'datamover.io/free-backup',
  appliesTo: () => ({ includedResources: [BACKUPS] }),
  async execute(item, backup, context) {
    // The plugin gives each the UID, so one without it was made by somebody else.
    if (item.metadata.labels?.[VELERO.backupUid] === undefined || !isArchivedFor(item, backup)) return;
    const client = await openCluster(context);
    const freed = freedBy(item);
    if (freed !== undefined) {
      const { protectedNamespace } = (item as unknown as VolumeSnapshotBackup).spec;
      // In another cluster Velero's own: it may be called otherwise there, and has the secrets.
      const own = isOfBackup(item.metadata.labels, backup);
      const namespace = own ? protectedNamespace : (backup.metadata.namespace ?? protectedNamespace);
      // There as a restore would: its storage location may be called otherwise, too.
      const opened =
        own || freed.backupTarget !== undefined
          ? {}
          : {
              resticSecretRef: {
                name: secretOf((await openSite(context)).settings, storageLocationOf(backup)),
              },
            };
      const request = await requestDeletion(client, namespace, { ...freed, ...opened });
      context.log.info(
        `SnapshotDeleteRequest ${request} frees the data of VolumeSnapshotBackup ${item.metadata.name}`,
      );
    }
    await removeTransfers(item, backup, client);
  },
};

/** Undefined when nothing was carried away. */
function freedBy(item: KubernetesItem): Freed | undefined {
  const { metadata, spec, status } = item as unknown as VolumeSnapshotBackup;
  const said = (name: keyof typeof BACKUP_ANNOTATIONS): string | undefined =>
    metadata.annotations?.[BACKUP_ANNOTATIONS[name]];
  const snapshotID = status?.snapshotID ?? said('snapshotID') ?? '';
  const resticrepository = status?.resticrepository ?? said('repository') ?? '';
  if (snapshotID === '' || resticrepository === '') return undefined;
  const claim = status?.sourcePVCData?.name ?? said('claimName');
  return {
    ...(spec.backupTarget === undefined
      ? { resticSecretRef: { name: spec.resticSecretRef?.name ?? '' } }
      : { backupTarget: spec.backupTarget }),
    ...{ resticrepository, snapshotID, sourceNamespace: metadata.namespace ?? '' },
    ...(claim === undefined ? {} : { claim }),
  };
}

/** They lie in the applications' namespaces, which no owner reference to Velero's objects reaches. */
async function removeTransfers(
  { metadata }: KubernetesItem,
  backup: VeleroBackup,
  client: KubernetesClient,
): Promise<void> {
  const { name, namespace = '', uid } = metadata;
  const of = { [VELERO.backupName]: backup.metadata.name, [LABELS.restoredFrom]: name };
  const selector = Object.entries(of).map(([label, value]) => `${label}=${labelValue(value)}`);
  const restores = await client.list(RESOURCES.volumeSnapshotRestore, undefined, selector.join(','));
  for (const { metadata: made } of restores ?? [])
    await client.delete(
      ...([RESOURCES.volumeSnapshotRestore, made.namespace ?? '', made.name ?? '', made.uid] as const),
    );
  await client.delete(RESOURCES.volumeSnapshotBackup, namespace, name, uid);
}
