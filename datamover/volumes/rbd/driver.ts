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
import { findReading, type BaseReading, type ReadSnap } from './base.ts';
import { isRbdErrno, type RbdConnection } from './command.ts';
import { exportCommand, type ExportJob, type PinnedSnap } from './export-job.ts';
import { holdSnaps, releaseStaleHolds } from './hold.ts';
import { identify, listSnaps, type RbdSnap } from './image.ts';
import { formatImageName, parseImageName, withoutSnap, type ImageName } from './image-name.ts';
import { parentOf } from './parent.ts';
import { readSnapRanges } from './ranges.ts';
import { recordOf, type RbdRecord } from './record.ts';
import { sharedCommand, type SharedJob } from './shared-job.ts';
import { planImageTarget, type RbdTargetPlan } from './target-plan.ts';
import { RbdTarget, removePartialImages } from './target.ts';

interface RbdSource extends SourceVolume {
  readonly record: Readonly<Record<string, unknown>> & RbdRecord;
}

type RbdRead = ReadPlan & { readonly source: RbdSource } & (
    | { readonly kind: 'export'; readonly job: ExportJob }
    | { readonly kind: 'shared'; readonly job: SharedJob }
  );

const OPERATION = 'back up rbd image';
const ENOENT = 2;

/** Images of a Ceph cluster, through librbd and its tools alone: no kernel driver, no privileges. */
export class RbdDriver implements VolumeDriver<RbdRead, RbdTargetPlan> {
  readonly name = 'rbd';
  readonly #connection: RbdConnection;

  constructor(connection: RbdConnection) {
    this.#connection = connection;
  }

  async identify(location: string, signal?: AbortSignal): Promise<RbdSource> {
    const name = withSnap(parseImageName(location));
    // Of the snap: an image that was flattened may have snaps that were not.
    const facts = await identify(this.#connection, name, signal);
    const snaps = await listSnaps(this.#connection, name, signal);
    const found = findSnap(snaps, name);
    const parent = await parentOf(this.#connection, facts, signal);
    const record = recordOf(name, facts, found.id, parent);
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
    const whole = (reading: ExportJob['reading'], changes: ReadPlan['changes']): RbdRead => {
      const job = { connection: this.#connection, source: pinned, reading };
      return { source, changes, kind: 'export', job };
    };
    if (request.distrusted === true) {
      const because = 'what Ceph says of the image was found wrong';
      return whole({ kind: 'everything', bytes: source.bytes }, { mechanism: 'everything', because });
    }
    const snap = await this.#look(source, pinned, signal);
    let because: string | undefined;
    for (const base of request.bases) {
      const reading = await findReading(this.#connection, snap, base, signal);
      if (typeof reading !== 'string') return this.#increment(source, pinned, base, reading, because);
      because ??= reading;
    }
    because ??= 'the volume has no backup yet';
    if (request.mustUse !== undefined) throw unusable(source, request.mustUse, because);
    return whole({ kind: 'allocated' }, { mechanism: 'allocated-extents', because });
  }

  async hold(plan: RbdRead, signal?: AbortSignal): Promise<HeldRead> {
    const { source, base } = plan;
    const { connection, source: pinned } = plan.job;
    const others =
      plan.kind === 'shared'
        ? plan.job.clones.filter(({ snapId }) => snapId !== pinned.snapId)
        : basesOf(plan.job);
    const release = await holdSnaps(connection, [pinned, ...others], signal);
    const command = plan.kind === 'shared' ? sharedCommand(plan.job) : exportCommand(plan.job);
    return {
      feed: { kind: 'rbd-diff', command, increment: base !== undefined },
      readRanges: (ranges, stop) =>
        readSnapRanges({ connection, source: pinned }, source.bytes, ranges, stop),
      release,
    };
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
    const released = await releaseStaleHolds(this.#connection, image, signal).catch((error: unknown) => {
      // A target need not be there.
      if (isRbdErrno(error, ENOENT)) return [];
      throw error;
    });
    const removed = await removePartialImages(this.#connection, image, signal);
    return [
      ...released.map((name) => `let go ${name}, which a backup that was killed had held`),
      ...removed.map((name) => `removed ${name}, which a restore that was killed had made`),
    ];
  }

  async close(): Promise<void> {
    // Nothing stays open between calls.
  }

  #increment(
    source: RbdSource,
    pinned: PinnedSnap,
    base: BaseBackup,
    found: BaseReading,
    because: string | undefined,
  ): RbdRead {
    const changes = { mechanism: found.mechanism, ...(because !== undefined && { because }) };
    if (found.kind === 'shared') return { source, base, changes, kind: 'shared', job: found.job };
    const job = { connection: this.#connection, source: pinned, reading: found.reading };
    return { source, base, changes, kind: 'export', job };
  }

  /** What a clone shows may have changed since it was identified: it may have been flattened. */
  async #look(source: RbdSource, pinned: PinnedSnap, signal?: AbortSignal): Promise<ReadSnap> {
    const { bytes, record } = source;
    if (record.parent === undefined) return { pinned, bytes };
    const parent = await parentOf(
      this.#connection,
      await identify(this.#connection, pinned.name, signal),
      signal,
    );
    return { pinned, bytes, ...(parent !== undefined && { parent }) };
  }
}

function basesOf({ reading }: ExportJob): PinnedSnap[] {
  return reading.kind === 'changes' ? [reading.base] : [];
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
