import { until } from '../../datamover/kubernetes/testing/waiting.ts';
import { readySnapshot, snapshotOf } from '../servers/claims.ts';
import type { Cluster } from '../servers/kubernetes.ts';

/** Where Velero would be: the secrets and BackupTargets of transfers. */
export const VELERO = 'velero';

/** As much of a VolumeSnapshotBackup or -Restore, a DataUpload or -Download, as tests look at. */
export interface Transfer {
  readonly metadata: { readonly finalizers?: readonly string[] };
  readonly status?: TransferStatus;
}

export interface TransferStatus {
  readonly phase?: string;
  readonly message?: string;
  readonly node?: string;
  readonly transferID?: string;
  readonly attempts?: number;
  readonly progress?: { readonly bytesDone?: number; readonly totalBytes?: number };
  readonly snapshotID?: string;
  readonly resticrepository?: string;
  readonly snapshotHandle?: string;
  readonly volumeSnapshotContentName?: string;
  readonly volumeName?: string;
  readonly format?: string;
  readonly amounts?: { readonly read?: number };
  readonly changes?: { readonly mechanism?: string };
  readonly sourcePVCData?: { readonly name: string; readonly size: string };
  readonly volumeSnapshotClassName?: string;
}

/** Where a transfer's repository follows from. */
export type Opened =
  { readonly resticSecretRef: { readonly name: string } } | { readonly backupTarget: string };

const RESTIC: Opened = { resticSecretRef: { name: 'restic' } };
const PATIENCE = 900_000;

/** What people and the plugin do with the kinds: of the volumes of one namespace, and of another one's. */
export class Transfers {
  readonly #cluster: Cluster;
  readonly namespace: string;
  readonly #snapshotClass: string;

  constructor(cluster: Cluster, namespace: string, snapshotClass: string) {
    this.#cluster = cluster;
    this.namespace = namespace;
    this.#snapshotClass = snapshotClass;
  }

  async get(kind: string, name: string, namespace = this.namespace): Promise<Transfer> {
    const path = ['get', kind, name, '--namespace', namespace, '--output=json'];
    return JSON.parse(await this.#cluster.kubectl(path)) as Transfer;
  }

  /** Waits until it looks so. */
  async seen(
    kind: string,
    name: string,
    condition: (status: TransferStatus) => boolean,
    namespace = this.namespace,
  ): Promise<TransferStatus> {
    let status: TransferStatus = {};
    await until(
      async () => condition((status = (await this.get(kind, name, namespace)).status ?? {})),
      () => JSON.stringify(status),
      PATIENCE,
    );
    return status;
  }

  /** Waits for the end of it, with nothing left to be cleaned up. */
  async ended(kind: string, name: string, namespace = this.namespace): Promise<TransferStatus> {
    let object: Transfer = { metadata: {} };
    await until(
      async () => {
        object = await this.get(kind, name, namespace);
        const final = ['Completed', 'Failed', 'Canceled'].includes(object.status?.phase ?? '');
        return final && object.metadata.finalizers === undefined;
      },
      () => JSON.stringify(object.status),
      PATIENCE,
    );
    return object.status ?? {};
  }

  async shoot(name: string, claim: string): Promise<void> {
    const { namespace } = this;
    const snapshotClass = this.#snapshotClass;
    await this.#cluster.apply(snapshotOf({ namespace, name, claim, snapshotClass }));
    await readySnapshot(this.#cluster, namespace, name);
  }

  /** A snapshot of this name is taken of the claim, and a VolumeSnapshotBackup of this name is made of it. */
  async beginBackup(name: string, claim: string, opened = RESTIC): Promise<void> {
    await this.shoot(name, claim);
    const path = '--output=jsonpath={.status.boundVolumeSnapshotContentName}';
    const content = await this.#cluster.kubectl([
      ...['get', 'volumesnapshot', name, '--namespace', this.namespace, path],
    ]);
    const volumeSnapshotContent = { name: content };
    await this.#make('VolumeSnapshotBackup', name, { ...opened, volumeSnapshotContent });
  }

  async backUp(name: string, claim: string, opened = RESTIC): Promise<TransferStatus> {
    await this.beginBackup(name, claim, opened);
    return this.ended('vsb', name);
  }

  /** What a VolumeSnapshotRestore has to know of a finished backup. */
  async reference(backup: string): Promise<Readonly<Record<string, unknown>>> {
    const { snapshotID, resticrepository, sourcePVCData, volumeSnapshotClassName } = await this.ended(
      'vsb',
      backup,
    );
    const of = { snapshotID, resticrepository, sourcePVCData, volumeSnapshotClassName };
    return { ...of, sourceNamespace: this.namespace };
  }

  async beginRestore(
    name: string,
    reference: object,
    more: object = {},
    { opened = RESTIC, namespace = this.namespace } = {},
  ): Promise<void> {
    const spec = { ...opened, volumeSnapshotMoverBackupRef: reference, ...more };
    await this.#make('VolumeSnapshotRestore', name, spec, namespace);
  }

  async restore(...how: Parameters<Transfers['beginRestore']>): Promise<TransferStatus> {
    await this.beginRestore(...how);
    return this.ended('vsr', how[0], how[3]?.namespace);
  }

  async #make(kind: string, name: string, spec: object, namespace = this.namespace): Promise<void> {
    await this.#cluster.apply({
      ...{ apiVersion: 'datamover.oadp.openshift.io/v1alpha1', kind, metadata: { name, namespace } },
      spec: { protectedNamespace: VELERO, ...spec },
    });
  }

  /** Velero's own object, as it makes one for a mover of others. */
  async makeMove(kind: 'DataUpload' | 'DataDownload', name: string, spec: object): Promise<void> {
    await this.#cluster.apply({
      ...{ apiVersion: 'velero.io/v2alpha1', kind, metadata: { name, namespace: VELERO } },
      spec: {
        ...{ datamover: 'datamover.io', backupStorageLocation: 'default', operationTimeout: '30m0s' },
        ...{ sourceNamespace: this.namespace, ...spec },
      },
    });
  }
}
