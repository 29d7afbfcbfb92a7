import type { VolumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import type { VolumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import type { Informer } from '../kubernetes/informer.ts';
import type { Stored } from '../kubernetes/object.ts';
import { isBackup, type TransferObject } from './transfer-object.ts';

/** Of one kind, `backup:NAMESPACE/NAME` and `restore:NAMESPACE/NAME`, as the work queue carries them. */
export function transferKey(object: TransferObject): string {
  const { namespace = '', name } = object.metadata;
  return `${isBackup(object) ? 'backup' : 'restore'}:${namespace}/${name}`;
}

/**
 * All transfers as they were last seen, own writes included: the watch may bring those only later, and a limit that is counted
 * without them would not hold.
 */
export class TransferCache {
  readonly #backups: Informer<VolumeSnapshotBackup>;
  readonly #restores: Informer<VolumeSnapshotRestore>;
  readonly #written = new Map<string, TransferObject>();

  constructor(backups: Informer<VolumeSnapshotBackup>, restores: Informer<VolumeSnapshotRestore>) {
    this.#backups = backups;
    this.#restores = restores;
  }

  get(key: string): TransferObject | undefined {
    const colon = key.indexOf(':');
    const informer = key.startsWith('backup:') ? this.#backups : this.#restores;
    const seen: TransferObject | undefined = informer.byKey(key.slice(colon + 1));
    return seen === undefined ? undefined : this.#newest(seen);
  }

  list(): readonly TransferObject[] {
    const seen: readonly TransferObject[] = [...this.#backups.list(), ...this.#restores.list()];
    const uids = new Set(seen.map(({ metadata }) => metadata.uid));
    for (const uid of this.#written.keys()) if (!uids.has(uid)) this.#written.delete(uid);
    return seen.map((object) => this.#newest(object));
  }

  /** What a write gave back. */
  remember(object: TransferObject): void {
    this.#written.set(object.metadata.uid, object);
  }

  /** Resource versions are numbers that grow: https://github.com/kubernetes/enhancements/issues/5504 */
  #newest(seen: TransferObject): TransferObject {
    const written = this.#written.get(seen.metadata.uid);
    if (written === undefined) return seen;
    if (isNewer(written, seen)) return written;
    this.#written.delete(seen.metadata.uid);
    return seen;
  }
}

function isNewer(one: Stored<TransferObject>, other: Stored<TransferObject>): boolean {
  const [a, b] = [one.metadata.resourceVersion, other.metadata.resourceVersion];
  return /^\d+$/.test(a) && /^\d+$/.test(b) && BigInt(a) > BigInt(b);
}
