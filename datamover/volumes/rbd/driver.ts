import { DatamoverError } from '../../errors.ts';
import type {
  HeldRead,
  ReadPlan,
  ReadRequest,
  SourceVolume,
  TargetNeed,
  VolumeDriver,
  VolumeTarget,
} from '../driver.ts';
import { chooseBase } from './base.ts';
import { isRbdErrno, type RbdConnection } from './command.ts';
import { exportCommand, type ExportJob, type PinnedSnap } from './export-job.ts';
import { holdSnaps, releaseStaleHolds } from './hold.ts';
import { identify, listSnaps, type RbdSnap } from './image.ts';
import { formatImageName, parseImageName, withoutSnap, type ImageName } from './image-name.ts';
import { readSnapRanges } from './ranges.ts';
import { recordOf, type RbdRecord } from './record.ts';
import { planImageTarget, type RbdTargetPlan } from './target-plan.ts';
import { RbdTarget, removePartialImages } from './target.ts';

interface RbdSource extends SourceVolume {
  readonly record: Readonly<Record<string, unknown>> & RbdRecord;
}

interface RbdRead extends ReadPlan {
  readonly source: RbdSource;
  readonly job: ExportJob;
}

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
    const image = withoutSnap(name);
    const [facts, snaps] = await Promise.all([
      identify(this.#connection, image, signal),
      listSnaps(this.#connection, image, signal),
    ]);
    const found = findSnap(snaps, name);
    const record = recordOf(name, facts, found.id, undefined);
    return {
      driver: 'rbd',
      location: formatImageName(name),
      format: 'image',
      bytes: found.bytes,
      record: { ...record },
    };
  }

  async planRead(source: RbdSource, request: ReadRequest, signal?: AbortSignal): Promise<RbdRead> {
    const { connection, pinned } = this.#pin(source);
    const job = (reading: ExportJob['reading']): ExportJob => ({ connection, source: pinned, reading });
    if (request.distrusted === true) {
      return {
        source,
        changes: { mechanism: 'everything', because: 'what Ceph says of the image was found wrong' },
        job: job({ kind: 'everything', bytes: source.bytes }),
      };
    }
    const snaps = await listSnaps(connection, pinned.name, signal);
    const choice = chooseBase(request.bases, snaps, pinned);
    if (choice.base === undefined) {
      if (request.mustUse !== undefined) throw unusable(source, request.mustUse, choice.because);
      return {
        source,
        changes: { mechanism: 'allocated-extents', because: choice.because },
        job: job({ kind: 'allocated' }),
      };
    }
    const { base, from, because } = choice;
    const name = { ...pinned.name, snap: from.name };
    return {
      source,
      base,
      changes: { mechanism: 'rbd-export-diff', ...(because !== undefined && { because }) },
      job:
        from.id === pinned.snapId
          ? job({ kind: 'unchanged', bytes: source.bytes })
          : job({ kind: 'changes', base: { name, imageId: pinned.imageId, snapId: from.id } }),
    };
  }

  async hold(plan: RbdRead, signal?: AbortSignal): Promise<HeldRead> {
    const { source, job } = plan;
    const { connection, reading, source: pinned } = job;
    const base = reading.kind === 'changes' ? [reading.base] : [];
    const release = await holdSnaps(connection, [pinned, ...base], signal);
    return {
      feed: { kind: 'rbd-diff', command: exportCommand(job), increment: plan.base !== undefined },
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

  #pin({ record }: RbdSource): { connection: RbdConnection; pinned: PinnedSnap } {
    const { pool, namespace, image, snap, imageId, snapId } = record;
    const name = { pool, image, snap, ...(namespace !== undefined && { namespace }) };
    return { connection: this.#connection, pinned: { name, imageId, snapId } };
  }
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
