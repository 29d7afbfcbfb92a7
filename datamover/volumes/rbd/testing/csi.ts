import { randomUUID } from 'node:crypto';
import type { CephEndpoint } from '../../../../e2e/servers/ceph.ts';
import { run } from '../../../process/spawn.ts';
import { Librbd, type OpenImage } from './librbd.ts';

/** ceph-csi's own choice for the clones that its snapshots are. */
const CLONE_FEATURES = ['layering', 'deep-flatten'];
const VOLUME_FEATURES = ['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'];

/** A volume as ceph-csi keeps it, whose snapshots are made and deleted in ceph-csi's way. */
export class CsiVolume {
  readonly image: string;
  readonly #ceph: CephEndpoint;
  readonly #client: Librbd;

  private constructor(ceph: CephEndpoint, client: Librbd, image: string) {
    this.#ceph = ceph;
    this.#client = client;
    this.image = image;
  }

  /** `features`: the cluster's own without it; Rook's default is `layering` alone. */
  static async create(
    ceph: CephEndpoint,
    client: Librbd,
    size: string,
    features: readonly string[] = [],
  ): Promise<CsiVolume> {
    const volume = new CsiVolume(ceph, client, `csi-vol-${randomUUID()}`);
    const options = features.flatMap((feature) => ['--image-feature', feature]);
    await volume.rbd('create', '--size', size, '--object-size', '1M', ...options, volume.#at(volume.image));
    return volume;
  }

  /** A claim made from a snapshot. */
  async restore(snapshot: string): Promise<CsiVolume> {
    const volume = new CsiVolume(this.#ceph, this.#client, `csi-vol-${randomUUID()}`);
    await volume.rbd(
      ...['clone', '--rbd-default-clone-format', '2', '--object-size', '1M'],
      ...VOLUME_FEATURES.flatMap((feature) => ['--image-feature', feature]),
      ...[this.#at(`${snapshot}@${snapshot}`), this.#at(volume.image)],
    );
    return volume;
  }

  change(work: (image: OpenImage) => void): void {
    const image = this.#client.open(this.image);
    try {
      work(image);
    } finally {
      image.close();
    }
  }

  /** Gives the image that is the snapshot; its snap has the same name. */
  async snapshot(): Promise<string> {
    const snapshot = `csi-snap-${randomUUID()}`;
    this.change((image) => image.snap(snapshot));
    await this.rbd(
      ...['clone', '--rbd-default-clone-format', '2', '--object-size', '1M'],
      ...CLONE_FEATURES.flatMap((feature) => ['--image-feature', feature]),
      ...[this.#at(`${this.image}@${snapshot}`), this.#at(snapshot)],
    );
    this.change((image) => image.removeSnap(snapshot));
    const clone = this.#client.open(snapshot);
    clone.snap(snapshot);
    clone.close();
    return snapshot;
  }

  async deleteSnapshot(snapshot: string): Promise<void> {
    await this.rbd('snap', 'rm', '--no-progress', this.#at(`${snapshot}@${snapshot}`));
    await this.rbd('rm', '--no-progress', this.#at(snapshot));
  }

  /** Whether volumes were made from a snapshot. */
  async isParent(snapshot: string): Promise<boolean> {
    return (await this.rbd('children', '--all', this.#at(snapshot))).trim() !== '';
  }

  /** Where a backup finds a snapshot. */
  location(snapshot: string): string {
    return this.#at(`${snapshot}@${snapshot}`);
  }

  read(snapshot: string): Buffer {
    return this.#client.read(snapshot, snapshot);
  }

  async rbd(...args: string[]): Promise<string> {
    return (await run({ file: 'rbd', args, env: this.#ceph.environment })).stdout;
  }

  #at(name: string): string {
    return `${this.#ceph.pool}/${name}`;
  }
}
