import { status } from '@grpc/grpc-js';
import { setTimeout as delay } from 'node:timers/promises';
import { OPENEBS, OPENEBS_ZFS_DRIVER, type ZfsVolumeSpec } from '../../../api/neighbours/openebs.ts';
import { orMissing } from '../../../datamover/kubernetes/api-error.ts';
import type { Client } from '../../../datamover/kubernetes/client.ts';
import { CsiFailure, type CsiDriver, type MadeSnapshot, type MadeVolume } from './driver.ts';
import { ZFS_SNAPSHOTS, ZFS_VOLUMES } from './zfs-kinds.ts';

export interface ZfsDoubleOptions {
  readonly client: Client;
  /** zfs-localpv's own namespace. */
  readonly namespace: string;
}

const MEBIBYTE = 2 ** 20;
const GIBIBYTE = 2 ** 30;
/** For the node to make a volume. */
const PATIENCE_MS = 120_000;

/**
 * A double of zfs-localpv's controller service: it makes and deletes ZFSVolume and ZFSSnapshot objects as the real one does
 * (pkg/driver/controller.go of https://github.com/openebs/zfs-localpv, 2.6); ZfsNodeDouble carries them out. Its module needs
 * nothing that cannot be built, but its node side wants a kernel with ZFS on the machine that it runs on. Left out: its
 * scheduler of nodes (the first allowed one is taken), clones of volumes, expansion, capacity.
 */
export class ZfsDouble implements CsiDriver {
  readonly name = OPENEBS_ZFS_DRIVER;
  readonly topology = true;
  readonly #namespace: string;
  readonly #client: Client;

  constructor({ client, namespace }: ZfsDoubleOptions) {
    this.#client = client;
    this.#namespace = namespace;
  }

  async createVolume(request: Parameters<CsiDriver['createVolume']>[0]): Promise<MadeVolume> {
    const handle = request.name.toLowerCase();
    const parameters = lowerKeys(request.parameters);
    const bytes = rounded(request.bytes);
    const poolName = parameters['poolname'] ?? '';
    const spec =
      request.snapshot === undefined
        ? this.#newSpec(request, parameters, bytes)
        : await this.#cloneSpec(request.snapshot, poolName, bytes);
    const volumes = this.#client.of(ZFS_VOLUMES);
    const known = await orMissing(volumes.get(this.#namespace, handle));
    if (known !== undefined && known.spec.capacity !== spec.capacity)
      throw new CsiFailure(status.ALREADY_EXISTS, `volume ${handle} already present`);
    if (known === undefined) {
      await volumes.create({
        metadata: { name: handle, namespace: this.#namespace, finalizers: [OPENEBS.finalizer] },
        spec,
        status: { state: 'Pending' },
      });
    }
    await this.#ready(handle);
    return {
      ...{ handle, bytes, topology: { [OPENEBS.nodeId]: spec.ownerNodeID } },
      context: { 'openebs.io/poolname': poolName, 'openebs.io/cas-type': 'localpv-zfs' },
    };
  }

  async deleteVolume(handle: string): Promise<void> {
    const volumes = this.#client.of(ZFS_VOLUMES);
    const volume = await orMissing(volumes.get(this.#namespace, handle));
    if (volume === undefined || volume.metadata.deletionTimestamp !== undefined) return;
    if (volume.status?.state !== 'Ready')
      throw new CsiFailure(status.INTERNAL, 'can not delete, volume creation is in progress');
    await orMissing(volumes.delete(this.#namespace, handle));
  }

  async createSnapshot(request: Parameters<CsiDriver['createSnapshot']>[0]): Promise<MadeSnapshot> {
    const name = request.name.toLowerCase();
    const volumeName = request.volume.toLowerCase();
    const snapshots = this.#client.of(ZFS_SNAPSHOTS);
    const volume = await orMissing(this.#client.of(ZFS_VOLUMES).get(this.#namespace, volumeName));
    const known = await orMissing(snapshots.get(this.#namespace, name));
    if (known === undefined && volume === undefined)
      throw new CsiFailure(status.NOT_FOUND, `CreateSnapshot not able to get volume ${volumeName}`);
    if (known === undefined && volume !== undefined) {
      await snapshots.create({
        metadata: {
          ...{ name, namespace: this.#namespace, finalizers: [OPENEBS.finalizer] },
          labels: { [OPENEBS.persistentVolume]: volumeName },
        },
        spec: volume.spec,
        status: { state: 'Pending' },
      });
    }
    const made = await snapshots.get(this.#namespace, name);
    return {
      ...{ handle: `${volumeName}@${name}`, volume: volumeName, created: new Date() },
      ...{ bytes: Number(made.spec.capacity), ready: made.status?.state === 'Ready' },
    };
  }

  async deleteSnapshot(handle: string): Promise<void> {
    const [, name, more] = handle.split('@');
    if (name === undefined || more !== undefined) return;
    await orMissing(this.#client.of(ZFS_SNAPSHOTS).delete(this.#namespace, name));
  }

  #newSpec(
    { topologies, block }: Parameters<CsiDriver['createVolume']>[0],
    parameters: Readonly<Record<string, string>>,
    bytes: number,
  ): ZfsVolumeSpec {
    const ownerNodeID = topologies[0]?.[OPENEBS.nodeId];
    if (ownerNodeID === undefined)
      throw new CsiFailure(status.INTERNAL, 'scheduler failed, node list is empty for creating the PV');
    const { fstype = '', volblocksize, recordsize, compression } = parameters;
    const dataset = fstype === 'zfs' && !block;
    const { thinprovision = 'no' } = parameters;
    return {
      ...{ ownerNodeID, poolName: parameters['poolname'] ?? '', capacity: String(bytes), fsType: fstype },
      ...{ volumeType: dataset ? 'DATASET' : 'ZVOL', thinProvision: thinprovision === 'yes' ? 'yes' : 'no' },
      ...(dataset ? { quotaType: 'quota' } : {}),
      ...(volblocksize === undefined ? {} : { volblocksize }),
      ...(recordsize === undefined ? {} : { recordsize }),
      ...(compression === undefined ? {} : { compression }),
    };
  }

  /** A clone is what its snapshot is: the class may say what it likes, but pool and size must be the same. */
  async #cloneSpec(handle: string, poolName: string, bytes: number): Promise<ZfsVolumeSpec> {
    const snapshot = await orMissing(
      this.#client.of(ZFS_SNAPSHOTS).get(this.#namespace, handle.split('@')[1] ?? ''),
    );
    if (snapshot === undefined) throw new CsiFailure(status.NOT_FOUND, `snapshot ${handle} is not known`);
    const { spec } = snapshot;
    if (spec.poolName !== poolName)
      throw new CsiFailure(
        status.INTERNAL,
        `clone to a different pool src pool ${spec.poolName} dst pool ${poolName}`,
      );
    if (spec.capacity !== String(bytes))
      throw new CsiFailure(status.INTERNAL, 'clone volume size is not matching');
    return { ...spec, snapname: handle };
  }

  async #ready(name: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const { status: said } = await this.#client.of(ZFS_VOLUMES).get(this.#namespace, name);
      if (said?.state === 'Ready') return;
      if (said?.state === 'Failed' || Date.now() > deadline)
        throw new CsiFailure(status.INTERNAL, `not able to provision the volume ${name}: ${said?.state}`);
      await delay(100);
    }
  }
}

function lowerKeys(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key.toLowerCase(), value]));
}

/** As zfs-localpv rounds: above one gibibyte to gibibytes, else to mebibytes. */
function rounded(bytes: number): number {
  const unit = bytes > GIBIBYTE ? GIBIBYTE : MEBIBYTE;
  return Math.max(1, Math.ceil(bytes / unit)) * unit;
}
