import { DatamoverError } from '../../errors.ts';
import { startRbd, type RbdConnection } from './command.ts';
import type { DiffHandler, DiffHeader } from './diff-format.ts';
import { DiffStream } from './diff-stream.ts';
import { listSnaps, type RbdSnap } from './image.ts';
import { checkImageName, formatImageName, nameOptions, type ImageName } from './image-name.ts';

/** What is to be read of an image, as a plain value: `full` is all that a snap has allocated. */
export interface DeltaPlan {
  readonly kind: 'full' | 'delta';
  /** With its snap. */
  readonly name: ImageName;
  readonly snapId: number;
  /** The older snap that the delta starts from. */
  readonly base?: string;
  readonly baseId?: number;
  /** The image's size at the base and at the snap. An image that shrank is to be cut before the delta is applied. */
  readonly baseBytes?: number;
  readonly bytes: number;
}

/** What a diff had, when all of it was read. */
export interface DeltaSummary {
  readonly header: DiffHeader;
  readonly extents: number;
  /** Bytes of extents with content, and of extents of zeros. */
  readonly written: number;
  readonly zeroed: number;
}

/** A snap that an earlier backup was made of. */
export interface BaseSnap {
  readonly name: string;
  /** Its id then: tells a snap that was deleted and made anew under the same name, even of another image. */
  readonly id?: number;
}

const OPERATION = 'read changes of rbd image';

/**
 * Says what has to be read for a snap of an image, given all of its snaps. Throws when the snap or the base is not there, or
 * when the base is not the older of the two: librbd only tells changes of one image, forward in time.
 */
export function planDelta(snaps: readonly RbdSnap[], name: ImageName, base?: BaseSnap): DeltaPlan {
  const snap = findSnap(snaps, name, name.snap);
  if (base === undefined) return { kind: 'full', name, snapId: snap.id, bytes: snap.bytes };
  const older = findSnap(snaps, name, base.name, base.id);
  if (older.id >= snap.id) {
    throw new DatamoverError({
      operation: OPERATION,
      subject: formatImageName(name),
      cause: `the base ${base.name} is not older than the snap`,
      hint: 'name an earlier snap as the base, or none for a full read',
      kind: 'usage',
    });
  }
  return {
    kind: 'delta',
    name,
    snapId: snap.id,
    base: older.name,
    baseId: older.id,
    baseBytes: older.bytes,
    bytes: snap.bytes,
  };
}

export interface DeltaOptions {
  readonly signal?: AbortSignal;
  /** Awaited after each chunk of the stream, so that a slow consumer slows `rbd` down instead of filling memory. */
  readonly drained?: () => Promise<void>;
}

/**
 * Runs `rbd export-diff` and tells the handler what it says. It succeeds only when the program ended well *and* the stream had
 * its end record: rbd writes a good header before it fails, and a killed program leaves a good beginning. The snaps must be the
 * planned ones at the end too, for content under a snap that is being deleted cannot be trusted. Until then nothing that the
 * handler got may be taken for the whole.
 */
export async function readDelta(
  connection: RbdConnection,
  plan: DeltaPlan,
  handler: DiffHandler,
  { signal, drained }: DeltaOptions = {},
): Promise<DeltaSummary> {
  const name = checkImageName(plan.name);
  if (plan.base !== undefined) checkImageName({ ...name, snap: plan.base });
  const base = plan.base === undefined ? [] : ['--from-snap', plan.base];
  const running = await startRbd(connection, {
    operation: OPERATION,
    name,
    args: ['export-diff', '--no-progress', ...nameOptions(name), ...base, '--path', '-'],
    ...(signal === undefined ? {} : { signal }),
  });
  const counted = new Counted(plan, handler);
  const stream = new DiffStream(counted);
  try {
    for await (const chunk of running.stdout as AsyncIterable<Buffer>) {
      stream.push(chunk);
      await drained?.();
    }
    // The program's own complaint says more than that its stream is short.
    await running.finished;
    stream.end();
  } catch (error) {
    await running.stop();
    throw error;
  }
  const snaps = await listSnaps(connection, name, signal);
  findSnap(snaps, name, name.snap, plan.snapId);
  if (plan.base !== undefined) findSnap(snaps, name, plan.base, plan.baseId);
  return counted.summary();
}

function findSnap(
  snaps: readonly RbdSnap[],
  name: ImageName,
  wanted: string | undefined,
  id?: number,
): RbdSnap {
  const found = snaps.find((snap) => snap.kind === 'user' && snap.name === wanted);
  if (found !== undefined && (id === undefined || id === found.id)) return found;
  if (found !== undefined) {
    throw new DatamoverError({
      operation: OPERATION,
      subject: formatImageName(name),
      cause: `the snap ${found.name} was deleted and made anew (its id was ${id ?? 'unknown'}, now it is ${found.id})`,
      hint: 'a delta cannot start from it: read the snap in full',
    });
  }
  const inTrash = snaps.some((snap) => snap.kind === 'trash' && snap.originalName === wanted);
  const cause =
    wanted === undefined
      ? 'no snap is named'
      : `it has no snap ${wanted}${inTrash ? ' any more: it was deleted and lives on in the trash for its clones' : ''}`;
  throw new DatamoverError({
    operation: OPERATION,
    subject: formatImageName(name),
    cause,
    hint: 'rbd snap ls lists the snaps of the image',
  });
}

/** Checks that the stream is the one that was asked for, and counts what it has. */
class Counted implements DiffHandler {
  readonly #plan: DeltaPlan;
  readonly #handler: DiffHandler;
  #header: DiffHeader | undefined;
  #extents = 0;
  #written = 0;
  #zeroed = 0;

  constructor(plan: DeltaPlan, handler: DiffHandler) {
    this.#plan = plan;
    this.#handler = handler;
  }

  begin(header: DiffHeader): void {
    const { name, base, bytes } = this.#plan;
    const fits = header.fromSnap === base && header.toSnap === name.snap && header.bytes === bytes;
    if (!fits) {
      throw new DatamoverError({
        operation: OPERATION,
        subject: formatImageName(name),
        cause: `rbd sent ${describe(header)}, not ${describe({ fromSnap: base, toSnap: name.snap, bytes })}`,
        hint: 'the snap was made anew meanwhile: try again',
        retryable: true,
      });
    }
    this.#header = header;
    this.#handler.begin(header);
  }

  write(offset: number, length: number): void {
    this.#extents++;
    this.#written += length;
    this.#handler.write(offset, length);
  }

  data(offset: number, bytes: Uint8Array): void {
    this.#handler.data(offset, bytes);
  }

  zero(offset: number, length: number): void {
    this.#extents++;
    this.#zeroed += length;
    this.#handler.zero(offset, length);
  }

  end(): void {
    this.#handler.end();
  }

  summary(): DeltaSummary {
    if (this.#header === undefined) throw new Error('the diff has no header');
    return {
      header: this.#header,
      extents: this.#extents,
      written: this.#written,
      zeroed: this.#zeroed,
    };
  }
}

function describe(what: {
  fromSnap?: string | undefined;
  toSnap?: string | undefined;
  bytes: number;
}): string {
  return `the changes from ${what.fromSnap ?? 'nothing'} to ${what.toSnap ?? 'the head'} (${what.bytes} bytes)`;
}
