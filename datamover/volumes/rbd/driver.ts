import { DatamoverError } from '../../errors.ts';
import type {
  BaseBackup,
  HeldRead,
  ReadPlan,
  ReadRequest,
  SourceVolume,
  TargetNeed,
  VolumeDriver,
  VolumeTarget,
} from '../driver.ts';
import { findReading, type BaseReading } from './base.ts';
import type { RbdConnection } from './command.ts';
import { HeldImage } from './held-image.ts';
import type { ImageLook, RbdSnap } from './image.ts';
import { formatImageName, parseImageName, withoutSnap, type ImageName } from './image-name.ts';
import { whatIsLeft } from './left.ts';
import { removePartialImages } from './partial-image.ts';
import type { PinnedSnap, ReadJob } from './read-job.ts';
import { recordOf, type RbdRecord } from './record.ts';
import { Session } from './session.ts';
import { planImageTarget, type RbdTargetPlan } from './target-plan.ts';
import { RbdTarget } from './target.ts';

interface RbdSource extends SourceVolume {
  readonly record: Readonly<Record<string, unknown>> & RbdRecord;
}

type RbdRead = ReadPlan & { readonly source: RbdSource; readonly job: ReadJob };

const OPERATION = 'back up rbd image';

/** Images of a Ceph cluster, through librbd and its tools alone: no kernel driver, no privileges. */
export class RbdDriver implements VolumeDriver<RbdRead, RbdTargetPlan> {
  readonly name = 'rbd';
  readonly #connection: RbdConnection;
  /** For what is asked before anything is held: each hold takes it over, and the next question begins another one. */
  #asked: Session | undefined;
  readonly #sessions = new Set<Session>();

  constructor(connection: RbdConnection) {
    this.#connection = connection;
  }

  async identify(location: string, signal?: AbortSignal): Promise<RbdSource> {
    const name = withSnap(parseImageName(location));
    // Of the snap: an image that was flattened may have snaps that were not.
    const { image, found } = await this.#lookAtSnap(name, signal);
    const record = recordOf(name, image, found.id, image.parent);
    return {
      driver: 'rbd',
      location: formatImageName(name),
      format: 'image',
      bytes: found.bytes,
      record: { ...record },
    };
  }

  async planRead(source: RbdSource, request: ReadRequest, signal?: AbortSignal): Promise<RbdRead> {
    const pinned = pin(source);
    const { bytes } = source;
    const whole = (kind: 'allocated' | 'everything', changes: ReadPlan['changes']): RbdRead => {
      const job = { source: pinned, bytes, reading: { kind } };
      return { source, changes, job };
    };
    if (request.distrusted === true) {
      const because = 'what Ceph says of the image was found wrong';
      return whole('everything', { mechanism: 'everything', because });
    }
    let because: string | undefined;
    if (request.bases.length > 0) {
      // What a clone shows may have changed since it was identified: it may have been flattened.
      const asking = { operation: 'look at rbd image', subject: source.location, signal };
      const look = await this.#session.ask('look', pinned.name, asking);
      const { parent } = look.image;
      const snap = { pinned, bytes, look, ...(parent !== undefined && { parent }) };
      for (const base of request.bases) {
        const reading = await findReading(this.#session, snap, base, signal);
        if (typeof reading !== 'string') return increment(source, pinned, base, reading, because);
        because ??= reading;
      }
    }
    because ??= 'the volume has no backup yet';
    if (request.mustUse !== undefined) throw unusable(source, request.mustUse, because);
    return whole('allocated', { mechanism: 'allocated-extents', because });
  }

  async hold(plan: RbdRead, signal?: AbortSignal): Promise<HeldRead> {
    const session = this.#session;
    this.#asked = undefined;
    return HeldImage.hold(this.#connection, session, plan.job, signal);
  }

  async keepBase(): Promise<void> {
    // The snap that was read is what the next backup builds on, and whoever made it says how long it stays.
  }

  async planTarget(location: string, need: TargetNeed, signal?: AbortSignal): Promise<RbdTargetPlan> {
    return planImageTarget(this.#connection, location, need, signal);
  }

  async openTarget(plan: RbdTargetPlan, signal?: AbortSignal): Promise<VolumeTarget> {
    return RbdTarget.open(this.#connection, plan, signal);
  }

  async cleanUp(location: string, signal?: AbortSignal): Promise<string[]> {
    const image = withoutSnap(parseImageName(location));
    const asking = { operation: 'clean up rbd image', subject: formatImageName(image), signal };
    const [released, names] = await Promise.all([
      this.#session.ask('clean', image, asking),
      this.#session.ask('names', image, asking),
    ]);
    const removed = await removePartialImages(this.#connection, image, names);
    return [
      ...released.map((name) => `let go ${name}, which a backup that was killed had held`),
      ...removed.map((name) => `removed ${name}, which a restore that was killed had made`),
    ];
  }

  async left(location: string, signal?: AbortSignal): Promise<string[]> {
    return whatIsLeft(this.#connection, this.#session, withoutSnap(parseImageName(location)), signal);
  }

  async close(): Promise<void> {
    this.#asked = undefined;
    await Promise.all([...this.#sessions].map((session) => session.close()));
    this.#sessions.clear();
  }

  get #session(): Session {
    if (this.#asked !== undefined && !this.#asked.ended) return this.#asked;
    this.#asked = new Session(this.#connection);
    this.#sessions.add(this.#asked);
    return this.#asked;
  }

  async #lookAtSnap(
    name: ImageName & { readonly snap: string },
    signal?: AbortSignal,
  ): Promise<{ readonly image: ImageLook['image']; readonly found: RbdSnap }> {
    const asking = { operation: 'look at rbd image', subject: formatImageName(name), signal };
    const { image, snaps } = await this.#session.ask('look', name, asking);
    return { image, found: findSnap(snaps, name) };
  }
}

function increment(
  source: RbdSource,
  pinned: PinnedSnap,
  base: BaseBackup,
  { mechanism, reading }: BaseReading,
  because: string | undefined,
): RbdRead {
  const changes = { mechanism, ...(because !== undefined && { because }) };
  return { source, base, changes, job: { source: pinned, bytes: source.bytes, reading } };
}

function pin({ record }: RbdSource): PinnedSnap {
  const { pool, namespace, image, snap, imageId, snapId } = record;
  const name = { pool, image, snap, ...(namespace !== undefined && { namespace }) };
  return { name, imageId, snapId };
}

function withSnap(name: ImageName): ImageName & { readonly snap: string } {
  const { snap } = name;
  if (snap !== undefined) return { ...name, snap };
  throw new DatamoverError({
    operation: OPERATION,
    subject: formatImageName(name),
    cause: 'no snap is named, and an image changes while it is read',
    hint: 'make one with rbd snap create and name it: pool/image@snap',
    kind: 'usage',
  });
}

function findSnap(snaps: readonly RbdSnap[], name: ImageName): RbdSnap {
  const found = snaps.find(({ kind, name: snap }) => kind === 'user' && snap === name.snap);
  if (found !== undefined) return found;
  const inTrash = snaps.some(({ kind, originalName }) => kind === 'trash' && originalName === name.snap);
  throw new DatamoverError({
    operation: OPERATION,
    subject: formatImageName(name),
    cause: inTrash
      ? 'the snap was deleted and lives on in the trash for its clones'
      : 'the image has no such snap',
    hint: 'rbd snap ls lists the snaps of the image',
  });
}

function unusable({ location }: SourceVolume, base: string, because: string): DatamoverError {
  return new DatamoverError({
    operation: OPERATION,
    subject: location,
    cause: `Ceph cannot tell what changed since backup ${base.slice(0, 8)}: ${because}`,
    hint: 'leave --base out: then what is allocated is read, and content that is known is not stored again',
    kind: 'usage',
  });
}
