import { randomUUID } from 'node:crypto';
import type { CephEndpoint } from '../../../../e2e/servers/ceph.ts';
import { run } from '../../../process/spawn.ts';
import { CsiVolume } from './csi.ts';
import type { ProducerCommand } from '../../driver.ts';
import type { Librbd, OpenImage } from './librbd.ts';
import { Model, OBJECT_BYTES, type Change } from '../../testing/workload.ts';

/** What a random workload does to a volume, and what it must contain then. */
export interface Life {
  change(what: Change): void;
  /** Gives the location of a snapshot for a backup. */
  snapshot(): Promise<string>;
  /** Prints what changed between the two newest snapshots; undefined where the one before is gone, or nothing but the driver tells. */
  diffCommand(): ProducerCommand | undefined;
  /** Removes a snapshot that is not the newest; which one is the caller's draw. */
  forget(draw: number): Promise<void>;
  /** Goes on with a clone of the newest snapshot, as another volume. */
  clone(): Promise<void>;
  /** What the newest snapshot contains, by our own account and by Ceph's. */
  expected(): { readonly model: Buffer; readonly ceph: Buffer };
}

const SIZE = 6 * OBJECT_BYTES;

/** An image and its snaps. */
export class PlainLife implements Life {
  readonly #ceph: CephEndpoint;
  readonly #client: Librbd;
  #image = '';
  #model = new Model(SIZE);
  #newest = '';
  #before = '';

  constructor(ceph: CephEndpoint, client: Librbd) {
    this.#ceph = ceph;
    this.#client = client;
  }

  async begin(): Promise<this> {
    this.#image = `life-${randomUUID()}`;
    await this.#rbd(
      'create',
      '--size',
      `${SIZE}B`,
      '--object-size',
      '1M',
      `${this.#ceph.pool}/${this.#image}`,
    );
    return this;
  }

  change(what: Change): void {
    this.#open((image) => this.#model.change(image, what));
  }

  async snapshot(): Promise<string> {
    this.#before = this.#newest;
    this.#newest = `s-${randomUUID()}`;
    this.#open((image) => this.#model.snap(image, this.#newest));
    return `${this.#ceph.pool}/${this.#image}@${this.#newest}`;
  }

  diffCommand(): ProducerCommand | undefined {
    if (!this.#model.snaps.includes(this.#before)) return undefined;
    const access = ['--no-progress', '--conf', this.#ceph.environment.CEPH_CONF];
    const name = `${this.#ceph.pool}/${this.#image}@${this.#newest}`;
    return { file: 'rbd', args: ['export-diff', ...access, '--from-snap', this.#before, name, '-'] };
  }

  async forget(draw: number): Promise<void> {
    const others = this.#model.snaps.filter((snap) => snap !== this.#newest);
    const snap = others[draw % others.length];
    if (snap !== undefined) this.#open((image) => this.#model.removeSnap(image, snap));
  }

  async clone(): Promise<void> {
    const clone = `life-${randomUUID()}`;
    await this.#rbd(
      ...['clone', '--rbd-default-clone-format', '2', '--object-size', '1M'],
      ...[`${this.#ceph.pool}/${this.#image}@${this.#newest}`, `${this.#ceph.pool}/${clone}`],
    );
    const content = this.#model.contentOf(this.#newest);
    this.#image = clone;
    this.#model = new Model(content.length);
    this.#model.bytes = Buffer.from(content);
  }

  expected(): { model: Buffer; ceph: Buffer } {
    return {
      model: this.#model.contentOf(this.#newest),
      ceph: this.#client.read(this.#image, this.#newest),
    };
  }

  #open(work: (image: OpenImage) => void): void {
    const image = this.#client.open(this.#image);
    try {
      work(image);
    } finally {
      image.close();
    }
  }

  async #rbd(...args: string[]): Promise<void> {
    await run({ file: 'rbd', args, env: this.#ceph.environment });
  }
}

/** A volume and its snapshots as ceph-csi keeps them. A snap of the image itself now and then is what it is rolled back to. */
export class CsiLife implements Life {
  #volume: CsiVolume;
  readonly #client: Librbd;
  #model = new Model(SIZE);
  #snapshots: string[] = [];
  #content = Buffer.alloc(0);
  #changes = 0;

  readonly #rollsBack: boolean;

  private constructor(volume: CsiVolume, client: Librbd, rollsBack: boolean) {
    this.#volume = volume;
    this.#client = client;
    this.#rollsBack = rollsBack;
  }

  static async begin(ceph: CephEndpoint, client: Librbd, rollsBack: boolean): Promise<CsiLife> {
    return new CsiLife(await CsiVolume.create(ceph, client, `${SIZE}B`), client, rollsBack);
  }

  change(what: Change): void {
    this.#volume.change((image) => {
      // Without a mark there is nothing to go back to.
      if (this.#rollsBack && this.#changes++ % 7 === 0) this.#model.snap(image, `mark-${this.#changes}`);
      this.#model.change(image, what);
    });
  }

  async snapshot(): Promise<string> {
    this.#content = Buffer.from(this.#model.bytes);
    const snapshot = await this.#volume.snapshot();
    this.#snapshots.push(snapshot);
    return this.#volume.location(snapshot);
  }

  diffCommand(): undefined {
    return undefined;
  }

  async forget(draw: number): Promise<void> {
    const index = draw % Math.max(1, this.#snapshots.length - 1);
    const snapshot = this.#snapshots[index];
    if (snapshot === undefined || snapshot === this.#snapshots.at(-1)) return;
    // One with clones is in use, as ceph-csi would find too.
    if (await this.#volume.isParent(snapshot)) return;
    await this.#volume.deleteSnapshot(snapshot);
    this.#snapshots = this.#snapshots.filter((other) => other !== snapshot);
  }

  async clone(): Promise<void> {
    const newest = this.#snapshots.at(-1);
    if (newest === undefined) return;
    this.#volume = await this.#volume.restore(newest);
    this.#model = new Model(this.#content.length);
    this.#model.bytes = Buffer.from(this.#content);
  }

  expected(): { model: Buffer; ceph: Buffer } {
    const newest = this.#snapshots.at(-1) ?? '';
    return { model: this.#content, ceph: this.#client.read(newest, newest) };
  }
}
