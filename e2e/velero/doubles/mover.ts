import { setTimeout as delay } from 'node:timers/promises';
import { ANNOTATIONS } from '../../../api/names.ts';
import type { KubernetesObject } from '../../../api/schema/kind.ts';
import { VELERO } from '../../../api/neighbours/velero.ts';
import {
  volumeSnapshotBackup,
  type VolumeSnapshotBackup,
  type VolumeSnapshotBackupStatus,
} from '../../../api/volume-snapshot-backup.ts';
import { volumeSnapshotRestore, type VolumeSnapshotRestore } from '../../../api/volume-snapshot-restore.ts';
import type { Client } from '../../../datamover/kubernetes/client.ts';
import { defineResource, resourceOf } from '../../../datamover/kubernetes/resource.ts';
import { DOUBLE_DRIVER } from './csi-snapshotter.ts';

type Claim = KubernetesObject<
  {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly storageClassName?: string;
  },
  { readonly phase?: string }
>;
const CLAIMS = defineResource<Claim>({
  ...{ group: '', version: 'v1', kind: 'PersistentVolumeClaim', plural: 'persistentvolumeclaims' },
  namespaced: true,
});
const VOLUMES = defineResource<KubernetesObject>({
  ...{ group: '', version: 'v1', kind: 'PersistentVolume', plural: 'persistentvolumes', namespaced: false },
});

export const REPOSITORY = 's3:https://minio.example.org/backups';

/**
 * A double of the data mover's controller and agent: writes by hand what they would write on VolumeSnapshotBackups and VolumeSnapshotRestores
 * (docs/kubernetes.md), one step at a time, so that a test sees what Velero makes of each. It moves no byte.
 */
export function moverDouble(client: Client) {
  const backups = client.of(resourceOf(volumeSnapshotBackup));
  const restores = client.of(resourceOf(volumeSnapshotRestore));
  const claims = client.of(CLAIMS);

  async function eventually<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
    const deadline = Date.now() + 120_000;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`${what} did not come`);
      await delay(250);
    }
  }

  return {
    backups,
    restores,
    claims,
    eventually,
    /** The VolumeSnapshotBackups of a Velero backup, once there are so many. */
    backupsOf: (backup: string, count: number) =>
      eventually(`the VolumeSnapshotBackups of ${backup}`, async () => {
        const { items } = await backups.list({ labelSelector: `${VELERO.backupName}=${backup}` });
        return items.length === count ? items : undefined;
      }),
    restoresOf: (restore: string, count: number) =>
      eventually(`the VolumeSnapshotRestores of ${restore}`, async () => {
        const { items } = await restores.list({ labelSelector: `${VELERO.restoreName}=${restore}` });
        return items.length === count ? items : undefined;
      }),
    async report(
      { metadata }: VolumeSnapshotBackup,
      status: Partial<VolumeSnapshotBackupStatus>,
    ): Promise<void> {
      await backups.patch(metadata.namespace, metadata.name ?? '', { status }, { subresource: 'status' });
    },
    async complete(backup: VolumeSnapshotBackup, claim: string, snapshotID: string): Promise<void> {
      await this.report(backup, {
        ...{ phase: 'Completed', batchingStatus: 'Completed', snapshotID },
        resticrepository: `${REPOSITORY}/${backup.metadata.namespace ?? ''}`,
        sourcePVCData: {
          ...{ name: claim, size: '1Gi', storageClassName: 'double', volumeMode: 'Filesystem' },
          accessModes: ['ReadWriteOnce'],
        },
        startTimestamp: new Date().toISOString(),
        completionTimestamp: new Date().toISOString(),
        progress: { totalBytes: 1 << 30, bytesDone: 1 << 30, percent: 100 },
      });
    },
    /** Waits for the claim, gives it a volume as the controller re-binds it, and reports so. */
    async fill(restore: VolumeSnapshotRestore): Promise<void> {
      const { namespace = '', name = '', uid = '' } = restore.metadata;
      const claimName = restore.spec.target?.claimName ?? '';
      const claim = await eventually(`the claim ${namespace}/${claimName}`, async () =>
        (await claims.list({ namespace })).items.find(({ metadata }) => metadata.name === claimName),
      );
      const volume = `restored-${uid}`;
      await client.of(VOLUMES).create({
        metadata: { name: volume, labels: claim.spec.selector?.matchLabels ?? {} },
        spec: {
          ...{ capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'] },
          ...{ storageClassName: claim.spec.storageClassName ?? '', persistentVolumeReclaimPolicy: 'Retain' },
          claimRef: { kind: 'PersistentVolumeClaim', namespace, name: claimName },
          csi: { driver: DOUBLE_DRIVER, volumeHandle: volume },
        },
      });
      await eventually(`${namespace}/${claimName} bound`, async () =>
        (await claims.get(namespace, claimName)).status?.phase === 'Bound' ? true : undefined,
      );
      await claims.patch(namespace, claimName, {
        metadata: { annotations: { [ANNOTATIONS.restoredBy]: uid } },
      });
      await restores.patch(
        ...([namespace, name] as const),
        {
          status: {
            ...{ phase: 'Completed', volumeName: volume, startTimestamp: new Date().toISOString() },
            completionTimestamp: new Date().toISOString(),
            progress: { totalBytes: 1 << 30, bytesDone: 1 << 30 },
          },
        },
        { subresource: 'status' },
      );
    },
  };
}

export type MoverDouble = ReturnType<typeof moverDouble>;
