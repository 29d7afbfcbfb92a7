import { ANNOTATIONS, LABELS, REASONS } from '../../../api/names.ts';
import type { VolumeSnapshotRestore } from '../../../api/volume-snapshot-restore.ts';
import { isApiError, orMissing } from '../../kubernetes/api-error.ts';
import { SNAPSHOTS } from '../../kubernetes/neighbour-resources.ts';
import type { Stored } from '../../kubernetes/object.ts';
import { parseQuantity } from '../../kubernetes/quantity.ts';
import {
  CLAIMS,
  STORAGE_CLASSES,
  VOLUMES,
  type PersistentVolume,
  type PersistentVolumeClaim,
} from '../../kubernetes/storage-resources.ts';
import type { LiveAgent } from '../assignment.ts';
import { TransferFailure } from '../failure.ts';
import type { Resolved, TransferFlow, Waiting } from '../flow.ts';
import { findRepository, type RepositoryRequest } from '../repository/access.ts';
import { decodeCephCsiHandle } from '../resolve/ceph-csi-handle.ts';
import { secretOfParameters, type CephAccess, type SecretName } from '../resolve/ceph-secret.ts';
import { cephAccessOf, findRbd, findZfsVolume, type FoundStorage, type Site } from '../resolve/storage.ts';
import { namingOf, transferIdOfObject, type StatusChange } from '../transfer-object.ts';
import { checkTarget, driverOf, helperClaim, helperName, wishFor, type Restore } from './helper.ts';
import { readMapping } from './mapping.ts';
import { planRebind } from './rebind.ts';
import { snapshotHelper } from './helper-snapshot.ts';
import { waitingClaim } from './waiting-claim.ts';

const WAIT_MS = 1_000;

/** Restores: a repository into a helper volume, which then becomes the claim's, or a snapshot. */
export class RestoreFlow implements TransferFlow<VolumeSnapshotRestore> {
  readonly #site: Site;
  readonly #agents: () => readonly LiveAgent[];

  constructor(site: Site, agents: () => readonly LiveAgent[]) {
    this.#site = site;
    this.#agents = agents;
  }

  async resolve(object: Restore, signal: AbortSignal): Promise<Resolved | Waiting> {
    const { client } = this.#site;
    await findRepository(this.#site, this.repository(object));
    const claim = await this.#claim(object);
    if (claim === 'awaited') return { waitMs: WAIT_MS, because: 'it waits for the claim' };
    const wish = wishFor(object, claim, await readMapping(this.#site));
    const storageClass = await orMissing(client.of(STORAGE_CLASSES).get(undefined, wish.storageClass));
    const driver = driverOf(object, wish.storageClass, storageClass);
    if (claim === undefined && driver === 'zfs') {
      throw new TransferFailure({
        ...{ ...namingOf(object), reason: REASONS.error, retryable: false },
        cause: 'a snapshot of a ZFS volume cannot outlive the volume',
        hint: 'name a claim that waits for the volume in target.claimName',
      });
    }
    const helper = await this.#helper(object);
    if (helper === undefined) {
      const draft =
        storageClass === undefined
          ? undefined
          : helperClaim(object, wish, storageClass, this.#agents(), driver);
      if (draft === undefined)
        return { waitMs: WAIT_MS, because: `no agent with the driver ${driver} works on any node` };
      await client.of(CLAIMS).create(draft).catch(unlessExists);
    }
    const volume = await this.#volumeOf(helper);
    if (helper?.status?.phase !== 'Bound' || volume?.spec.csi === undefined)
      return { waitMs: WAIT_MS, because: 'it waits for the CSI driver to make a volume' };
    const found = await this.#find(
      driver,
      volume.spec.csi.volumeHandle,
      storageClass?.parameters ?? {},
      signal,
    );
    const bytes = parseQuantity(volume.spec.capacity?.storage ?? wish.size);
    return {
      change: {
        storage: { ...found.storage, bytes },
        ...(claim === undefined ? {} : { volumeName: volume.metadata.name }),
        ...(found.node === undefined ? {} : { node: found.node }),
      },
      message: `${found.storage.driver}:${found.storage.location}`,
    };
  }

  repository({ metadata, spec }: Restore): RepositoryRequest {
    const own = metadata.namespace ?? '';
    const { sourceNamespace = own, sourcePVCData, resticrepository } = spec.volumeSnapshotMoverBackupRef;
    return {
      protectedNamespace: spec.protectedNamespace,
      ...(spec.resticSecretRef === undefined ? {} : { resticSecretRef: spec.resticSecretRef }),
      ...(spec.backupTarget === undefined ? {} : { backupTarget: spec.backupTarget }),
      ...(resticrepository === undefined ? {} : { repository: resticrepository }),
      volume: { namespace: sourceNamespace, claim: sourcePVCData.name ?? '' },
      ...{ namespaces: [own, sourceNamespace], writes: false },
    };
  }

  async ceph(object: Restore): Promise<CephAccess | undefined> {
    if (object.status?.storage?.driver !== 'rbd') return undefined;
    const helper = await this.#helper(object);
    const volume = await this.#volumeOf(helper);
    const parameters = await this.#parametersOf(helper);
    const { clusterId } = decodeCephCsiHandle(volume?.spec.csi?.volumeHandle ?? '');
    return (await cephAccessOf(this.#site, clusterId, provisionerSecret(parameters))).access;
  }

  async finish(object: Restore): Promise<StatusChange | Waiting> {
    const claimName = object.spec.target?.claimName;
    if (claimName === undefined) return snapshotHelper(this.#site, object);
    for (;;) {
      const helper = await this.#helper(object);
      const volume = (await this.#volumeOf(helper)) ?? (await this.#volumeOfTransfer(object, claimName));
      checkVolume(object, volume);
      const claim = await orMissing(this.#site.client.of(CLAIMS).get(object.metadata.namespace, claimName));
      if (claim !== undefined && claim.spec.volumeName !== volume?.metadata.name)
        checkTarget(object, claim, ANNOTATIONS.restoredBy);
      const transfer = transferIdOfObject(object);
      const step = planRebind({ restore: object.metadata.uid, transfer, helper, volume, claim });
      switch (step.do) {
        case 'wait':
          return { waitMs: WAIT_MS, because: step.because };
        case 'done':
          return { volumeName: step.volume };
        case 'deleteHelper':
          await orMissing(this.#site.client.of(CLAIMS).delete(object.metadata.namespace, helperName(object)));
          break;
        case 'patchVolume':
          await this.#patch(VOLUMES, volume, step.patch);
          break;
        case 'patchClaim':
          await this.#patch(CLAIMS, claim, step.patch);
          break;
      }
    }
  }

  async waitingClaim({ metadata, spec }: Restore): Promise<Stored<PersistentVolumeClaim> | undefined> {
    return waitingClaim(this.#site.client, metadata.namespace, spec.target?.claimName);
  }

  async cleanUp(object: Restore): Promise<readonly string[]> {
    const { client } = this.#site;
    const { namespace } = object.metadata;
    const name = helperName(object);
    const left: string[] = [];
    const snapshot = await orMissing(client.of(SNAPSHOTS).get(namespace, name));
    if (snapshot !== undefined) {
      await orMissing(client.of(SNAPSHOTS).delete(namespace, name));
      left.push(`VolumeSnapshot ${name}`);
    }
    const claim = object.spec.target?.claimName;
    for (const volume of await this.#labelled(object)) {
      // Whose change of hands did not come to its end: it goes with the helper.
      if (volume.spec.claimRef?.name === claim && object.status?.phase === 'Cleanup') continue;
      if (volume.spec.persistentVolumeReclaimPolicy !== 'Delete')
        await this.#patch(VOLUMES, volume, { spec: { persistentVolumeReclaimPolicy: 'Delete' } });
      left.push(`PersistentVolume ${volume.metadata.name}`);
    }
    const helper = await this.#helper(object);
    if (helper === undefined) return left;
    const volume = await this.#volumeOf(helper);
    if (volume !== undefined && volume.metadata.labels?.[LABELS.transfer] === undefined)
      await this.#patch(VOLUMES, volume, {
        metadata: { labels: { [LABELS.transfer]: transferIdOfObject(object) } },
      });
    await orMissing(client.of(CLAIMS).delete(namespace, name));
    return [...left, `PersistentVolumeClaim ${name}`];
  }

  /** The claim that waits for the volume; undefined where none is named. */
  async #claim(object: Restore): Promise<Stored<PersistentVolumeClaim> | 'awaited' | undefined> {
    const name = object.spec.target?.claimName;
    if (name === undefined) return undefined;
    const claim = await orMissing(this.#site.client.of(CLAIMS).get(object.metadata.namespace, name));
    if (claim === undefined) return 'awaited';
    checkTarget(object, claim, ANNOTATIONS.restoredBy);
    return claim;
  }

  async #helper(object: Restore): Promise<Stored<PersistentVolumeClaim> | undefined> {
    return orMissing(this.#site.client.of(CLAIMS).get(object.metadata.namespace, helperName(object)));
  }

  /** The volume that is bound to the claim. */
  async #volumeOf(
    claim: Stored<PersistentVolumeClaim> | undefined,
  ): Promise<Stored<PersistentVolume> | undefined> {
    const name = claim?.spec.volumeName;
    if (claim === undefined || name === undefined || name === '') return undefined;
    const volume = await orMissing(this.#site.client.of(VOLUMES).get(undefined, name));
    return belongsTo(volume, claim) ? volume : undefined;
  }

  /** When the helper is gone, its volume is known by its label, and at the end by its claim. */
  async #volumeOfTransfer(object: Restore, claimName: string): Promise<Stored<PersistentVolume> | undefined> {
    const [labelled] = await this.#labelled(object);
    if (labelled !== undefined) return labelled;
    const claim = await orMissing(this.#site.client.of(CLAIMS).get(object.metadata.namespace, claimName));
    return claim?.metadata.annotations?.[ANNOTATIONS.restoredBy] === object.metadata.uid
      ? this.#volumeOf(claim)
      : undefined;
  }

  async #labelled(object: Restore): Promise<readonly Stored<PersistentVolume>[]> {
    const labelSelector = `${LABELS.transfer}=${transferIdOfObject(object)}`;
    return (await this.#site.client.of(VOLUMES).list({ labelSelector })).items;
  }

  async #parametersOf(claim: PersistentVolumeClaim | undefined): Promise<Readonly<Record<string, string>>> {
    const name = claim?.spec.storageClassName ?? '';
    return (await orMissing(this.#site.client.of(STORAGE_CLASSES).get(undefined, name)))?.parameters ?? {};
  }

  async #find(
    driver: 'zfs' | 'rbd',
    handle: string,
    parameters: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<FoundStorage> {
    if (driver === 'zfs') return findZfsVolume(this.#site, handle);
    return findRbd(this.#site, 'volume', handle, provisionerSecret(parameters), signal);
  }

  async #patch(
    resource: typeof VOLUMES | typeof CLAIMS,
    object: Stored<PersistentVolume> | Stored<PersistentVolumeClaim> | undefined,
    patch: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    if (object === undefined) return;
    const { name, namespace, resourceVersion } = object.metadata;
    const metadata = { ...(patch['metadata'] as object | undefined), resourceVersion };
    const conditional: unknown = { ...patch, metadata };
    const objects = this.#site.client.of<PersistentVolume | PersistentVolumeClaim>(resource);
    await objects.patch(namespace, name, conditional as Parameters<typeof objects.patch>[2]);
  }
}

function provisionerSecret(parameters: Readonly<Record<string, string>>): SecretName {
  const secret = secretOfParameters(parameters, 'provisioner');
  if (secret !== undefined) return secret;
  throw new TransferFailure({
    operation: 'find the secret of Ceph',
    cause: 'the storage class names none',
    hint: 'set csi.storage.k8s.io/provisioner-secret-name and -namespace in it',
    reason: REASONS.secretMissing,
  });
}

/** Who may make claims may name any volume in them, and call them as our helper is called; a volume's claimRef is the cluster's word. */
function belongsTo(
  volume: PersistentVolume | undefined,
  { metadata: { namespace, name, uid } }: Stored<PersistentVolumeClaim>,
): boolean {
  const owner = volume?.spec.claimRef;
  if (owner === undefined) return false;
  return owner.namespace === namespace && owner.name === name && owner.uid === uid;
}

/** @throws TransferFailure when it is not the volume that the data went into. */
function checkVolume(object: Restore, volume: Stored<PersistentVolume> | undefined): void {
  const restored = object.status?.volumeName;
  if (volume === undefined || restored === undefined || restored === volume.metadata.name) return;
  throw new TransferFailure({
    ...{ ...namingOf(object), reason: REASONS.error, retryable: false },
    cause: `the data are in the volume ${restored}, and the claim ${helperName(object)} now has ${volume.metadata.name}`,
    hint: 'leave claims that begin with datamover-restore- alone while a restore goes on',
  });
}

function unlessExists(error: unknown): void {
  if (!isApiError(error, 'exists')) throw error;
}
