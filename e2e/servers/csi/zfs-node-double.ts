import { OPENEBS, type ZFSSnapshot, type ZFSVolume } from '../../../api/neighbours/openebs.ts';
import { orMissing } from '../../../datamover/kubernetes/api-error.ts';
import type { Client, KindClient } from '../../../datamover/kubernetes/client.ts';
import { Informer } from '../../../datamover/kubernetes/informer.ts';
import { splitKey } from '../../../datamover/kubernetes/object.ts';
import { runWorkers, WorkQueue } from '../../../datamover/kubernetes/workqueue.ts';
import { run } from '../../../datamover/process/spawn.ts';
import type { OpenZfsEndpoint } from '../openzfs.ts';
import { ZFS_SNAPSHOTS, ZFS_VOLUMES } from './zfs-kinds.ts';

export interface ZfsNodeOptions {
  readonly client: Client;
  readonly namespace: string;
  /** The machine that has the pools of these nodes. */
  readonly machine: OpenZfsEndpoint;
  readonly nodes: readonly string[];
}

/**
 * A double of zfs-localpv's node side (pkg/mgmt of https://github.com/openebs/zfs-localpv): it makes and destroys what the ZFSVolume
 * and ZFSSnapshot objects of its nodes say, on real OpenZFS. Left out: properties changed later, new UUIDs of cloned filesystems.
 */
export class ZfsNodeDouble {
  readonly #options: ZfsNodeOptions;
  readonly #ending = new AbortController();
  readonly #running: Promise<unknown>;
  /** What went wrong, newest last; all of it is tried again. */
  readonly failures: string[] = [];

  constructor(options: ZfsNodeOptions) {
    this.#options = options;
    const { client } = options;
    this.#running = Promise.all([
      this.#follow(client.of(ZFS_VOLUMES), (volume) => this.#volume(volume)),
      this.#follow(client.of(ZFS_SNAPSHOTS), (snapshot) => this.#snapshot(snapshot)),
    ]);
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running;
  }

  async #follow<T extends ZFSVolume | ZFSSnapshot>(
    kind: KindClient<T>,
    reconcile: (object: T) => Promise<void>,
  ): Promise<void> {
    const { signal } = this.#ending;
    const { namespace, nodes } = this.#options;
    const failed = (error: unknown): void => void this.failures.push(String(error));
    const queue = new WorkQueue({ backoff: { firstMs: 200, maxMs: 3_000 } });
    const informer = new Informer(kind, {
      ...{ namespace, signal, onHandlerFailure: failed, onFailure: failed },
    });
    informer.onChange(({ type, object }) => {
      if (type !== 'deleted') queue.add(`${namespace}/${object.metadata.name}`);
    });
    await runWorkers({
      ...{ queue, signal, workers: 2, onFailure: (key, error) => failed(`${key}: ${String(error)}`) },
      reconcile: async (key) => {
        const object = await orMissing(kind.get(namespace, splitKey(key).name));
        if (object !== undefined && nodes.includes(object.spec.ownerNodeID)) await reconcile(object);
        return undefined;
      },
    });
    await informer.stopped;
  }

  async #volume(volume: ZFSVolume): Promise<void> {
    const { metadata, spec, status } = volume;
    const name = metadata.name ?? '';
    const dataset = `${spec.poolName}/${name}`;
    const kind = this.#options.client.of(ZFS_VOLUMES);
    const { namespace } = this.#options;
    if (metadata.deletionTimestamp !== undefined) {
      if (othersHold(metadata.finalizers)) throw new Error(`${name} waits for other finalizers`);
      if (await this.#exists(dataset)) await this.#zfs('destroy', '-r', dataset);
      await kind.patch(namespace, name, { metadata: { finalizers: [] } });
    } else if (status?.state !== 'Ready') {
      // One that is there already is taken as it is: so volumes are imported.
      const made = await this.#make(volume, dataset).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      await kind.patch(namespace, name, {
        metadata: { finalizers: [OPENEBS.finalizer], labels: { [OPENEBS.nodeName]: spec.ownerNodeID } },
        status: { state: made === undefined ? 'Ready' : 'Failed' },
      });
      if (made !== undefined) throw made.error;
    }
  }

  async #make({ spec }: ZFSVolume, dataset: string): Promise<void> {
    if (await this.#exists(dataset)) return;
    const { capacity, quotaType = 'quota', recordsize, volblocksize, compression, snapname } = spec;
    const options = compression === undefined ? [] : ['-o', `compression=${compression}`];
    if (spec.volumeType === 'DATASET') {
      options.push('-o', `${quotaType}=${capacity}`, '-o', 'mountpoint=legacy');
      if (recordsize !== undefined) options.push('-o', `recordsize=${recordsize}`);
    }
    if (snapname !== undefined) {
      await this.#zfs('clone', ...options, `${spec.poolName}/${snapname}`, dataset);
      return;
    }
    if (spec.volumeType === 'ZVOL') {
      options.push('-V', capacity);
      if (spec.thinProvision === 'yes') options.push('-s');
      if (volblocksize !== undefined) options.push('-b', volblocksize);
    }
    await this.#zfs('create', ...options, dataset);
  }

  async #snapshot({ metadata, spec, status }: ZFSSnapshot): Promise<void> {
    const { name = '', labels = {} } = metadata;
    const snapshot = `${spec.poolName}/${labels[OPENEBS.persistentVolume]}@${name}`;
    const kind = this.#options.client.of(ZFS_SNAPSHOTS);
    const { namespace } = this.#options;
    if (metadata.deletionTimestamp !== undefined) {
      if (othersHold(metadata.finalizers)) throw new Error(`${name} waits for other finalizers`);
      if (await this.#exists(snapshot)) await this.#zfs('destroy', snapshot);
      await kind.patch(namespace, name, { metadata: { finalizers: [] } });
    } else if (status?.state !== 'Ready') {
      if (!(await this.#exists(snapshot))) await this.#zfs('snapshot', snapshot);
      await kind.patch(namespace, name, {
        metadata: { finalizers: [OPENEBS.finalizer], labels: { [OPENEBS.nodeName]: spec.ownerNodeID } },
        status: { state: 'Ready' },
      });
    }
  }

  async #exists(name: string): Promise<boolean> {
    const listed = await run({
      ...{ file: 'zfs', args: ['list', '-H', '-o', 'name', name], accept: [0, 1] },
      env: this.#options.machine.environment,
    });
    if (listed.status === 0) return true;
    if (listed.stderr.includes('does not exist')) return false;
    throw new Error(`zfs list ${name}: ${listed.stderr}`);
  }

  async #zfs(...args: string[]): Promise<void> {
    await run({ file: 'zfs', args, env: this.#options.machine.environment });
  }
}

/** A volume is destroyed when only zfs-localpv's own finalizer is left. */
function othersHold(finalizers: readonly string[] | undefined): boolean {
  return (finalizers ?? []).some((finalizer) => finalizer !== OPENEBS.finalizer);
}
