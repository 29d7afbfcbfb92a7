import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { DatamoverError } from '../../errors.ts';
import type { Running } from '../../process/spawn.ts';
import type { VolumeTarget } from '../driver.ts';
import { isRbdErrno, runRbd, startRbd, type RbdConnection } from './command.ts';
import { DiffEncoder } from './diff-encoder.ts';
import { dataRuns } from './full-diff.ts';
import { formatImageName, nameOptions, type ImageName } from './image-name.ts';
import { partialName, removeImage } from './partial-image.ts';
import { findImage, refuseWatched, type RbdTargetPlan } from './target-plan.ts';

const OPERATION = 'restore to rbd image';
/** `rbd import-diff` takes a record into memory at once, and writes as many at a time as it has hands. */
const RECORD_BYTES = 4 << 20;
const WAITING_BYTES = 16 << 20;
/** How long rbd may take to notice that its input was cut off. */
const END_GRACE_MS = 10_000;
const EEXIST = 17;

/**
 * An image that `rbd import-diff` fills. A new one has another name until it is closed, so that half of it is never taken for the
 * whole, whatever happens to us. One that is there is emptied first: so its zeros need not be written, and what it had is gone.
 */
export class RbdTarget implements VolumeTarget {
  readonly order = 'ascending';
  readonly startsAsZeros = true;
  readonly #connection: RbdConnection;
  readonly #plan: RbdTargetPlan;
  /** Where it is now. */
  readonly #image: ImageName;
  readonly #feed: PassThrough;
  readonly #importing: Running;
  /** Rejects when rbd has ended before it was told to, or the restore was stopped. */
  readonly #broken: Promise<never>;
  readonly #encoder: DiffEncoder;
  #finishing = false;

  private constructor(
    connection: RbdConnection,
    plan: RbdTargetPlan,
    image: ImageName,
    feed: PassThrough,
    importing: Running,
    signal: AbortSignal | undefined,
  ) {
    this.#connection = connection;
    this.#plan = plan;
    this.#image = image;
    this.#feed = feed;
    this.#importing = importing;
    this.#broken = new Promise((_, reject) => {
      const stopped = (): void => reject(this.#failure('stopped', 'cancelled'));
      if (signal?.aborted === true) stopped();
      signal?.addEventListener('abort', stopped, { once: true });
      importing.finished.then(() => {
        if (!this.#finishing) reject(this.#failure('rbd import-diff ended before all was written'));
      }, reject);
    });
    this.#broken.catch(() => undefined);
    // What is written may be the caller's again when write() resolves, and waits here for longer.
    this.#encoder = new DiffEncoder((bytes) => feed.write(Buffer.from(bytes)));
    this.#encoder.begin({ version: 1, bytes: plan.bytes });
  }

  static async open(
    connection: RbdConnection,
    plan: RbdTargetPlan,
    signal?: AbortSignal,
  ): Promise<RbdTarget> {
    const image = plan.action === 'create' ? partialName(plan.name) : plan.name;
    try {
      if (plan.action === 'create') {
        await refuseTaken(connection, plan.name, signal);
        await createImage(connection, plan, image, signal);
      }
      if (plan.action === 'overwrite') await emptyImage(connection, plan, signal);
      const feed = new PassThrough({ highWaterMark: WAITING_BYTES });
      const importing = await startRbd(connection, {
        operation: OPERATION,
        name: image,
        args: ['import-diff', '--no-progress', ...nameOptions(image), '--path', '-'],
        input: feed,
      });
      return new RbdTarget(connection, plan, image, feed, importing, signal);
    } catch (error) {
      if (plan.action === 'create') await removeImage(connection, image).catch(() => undefined);
      throw error;
    }
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    for (const { from, to } of dataRuns(bytes)) {
      for (let at = from; at < to;) {
        // Up to the next multiple, so that a record does not touch more objects than it fills.
        const length = Math.min(RECORD_BYTES - ((position + at) % RECORD_BYTES), to - at);
        this.#encoder.write(position + at, length);
        this.#encoder.data(position + at, bytes.subarray(at, at + length));
        at += length;
        await this.#drained();
      }
    }
  }

  async writeZeros(): Promise<void> {
    // It is all zeros where nothing is written.
  }

  async finish(): Promise<void> {
    this.#finishing = true;
    this.#encoder.end();
    this.#feed.end();
    await Promise.race([this.#importing.finished, this.#broken]);
  }

  /** By another program, so from the cluster and from no memory of ours. */
  async *readBack(signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const reading = await startRbd(this.#connection, {
      operation: 'read back rbd image',
      name: this.#image,
      args: ['export', '--no-progress', ...nameOptions(this.#image), '--path', '-'],
      ...(signal && { signal }),
    });
    try {
      yield* reading.stdout as AsyncIterable<Buffer>;
      await reading.finished;
    } finally {
      await reading.stop();
    }
  }

  async close(): Promise<void> {
    if (this.#plan.action !== 'create') return;
    const { name } = this.#plan;
    const { namespace } = name;
    const place = namespace === undefined ? [] : ['--dest-namespace', namespace];
    await runRbd(this.#connection, {
      operation: OPERATION,
      name,
      args: [
        ...['rename', ...nameOptions(this.#image)],
        ...['--dest-pool', name.pool, ...place, '--dest', name.image],
      ],
    }).catch((error: unknown) => {
      throw isRbdErrno(error, EEXIST) ? taken(name, 'while it was being restored') : error;
    });
  }

  /** Never throws: what cannot be removed now has a name that says what it is, and cleanUp finds it. */
  async discard(): Promise<void> {
    // A stream that is cut off makes rbd fail and close the image; killed it would be taken for somebody at work for 30 s.
    this.#feed.end();
    const ended = this.#importing.finished.then(
      () => undefined,
      () => undefined,
    );
    await Promise.race([ended, delay(END_GRACE_MS, undefined, { ref: false })]);
    await this.#importing.stop();
    if (this.#plan.action === 'create')
      await removeImage(this.#connection, this.#image).catch(() => undefined);
  }

  /** Waits while too much is on its way. */
  async #drained(): Promise<void> {
    if (!this.#feed.writableNeedDrain) return;
    const drain = new Promise<void>((resolve) => this.#feed.once('drain', resolve));
    await Promise.race([drain, this.#broken]);
  }

  #failure(cause: string, kind?: 'cancelled'): DatamoverError {
    const subject = formatImageName(this.#plan.name);
    return new DatamoverError({ operation: OPERATION, subject, cause, ...(kind && { kind }) });
  }
}

/** Told now, and not by a rename that fails when all is written. */
async function refuseTaken(connection: RbdConnection, name: ImageName, signal?: AbortSignal): Promise<void> {
  if ((await findImage(connection, name, signal)) === undefined) return;
  throw taken(name, 'since it was looked at');
}

function taken(name: ImageName, when: string): DatamoverError {
  return new DatamoverError({
    operation: OPERATION,
    subject: formatImageName(name),
    cause: `somebody made an image of this name ${when}`,
    hint: 'use --force to overwrite it, or name another image',
  });
}

async function createImage(
  connection: RbdConnection,
  { bytes, shape }: RbdTargetPlan,
  name: ImageName,
  signal?: AbortSignal,
): Promise<void> {
  const { objectBytes, features, stripeUnit, stripeCount, dataPool } = shape;
  const options = [
    ...(objectBytes === undefined ? [] : ['--object-size', `${objectBytes}B`]),
    ...(features ?? []).flatMap((feature) => ['--image-feature', feature]),
    ...(stripeUnit === undefined ? [] : ['--stripe-unit', `${stripeUnit}B`]),
    ...(stripeCount === undefined ? [] : ['--stripe-count', String(stripeCount)]),
    ...(dataPool === undefined ? [] : ['--data-pool', dataPool]),
  ];
  const args = ['create', ...nameOptions(name), '--size', `${bytes}B`, ...options];
  await runRbd(connection, { operation: OPERATION, name, args, ...(signal && { signal }) });
}

async function emptyImage(
  connection: RbdConnection,
  { name, imageId, bytes }: RbdTargetPlan,
  signal?: AbortSignal,
): Promise<void> {
  const there = await findImage(connection, name, signal);
  if (there?.id !== imageId || there?.bytes !== bytes) {
    throw new DatamoverError({
      operation: OPERATION,
      subject: formatImageName(name),
      cause: 'it is not the image any more that was looked at, or has another size',
      hint: 'try again',
      retryable: true,
    });
  }
  await refuseWatched(connection, name, signal);
  for (const size of [0, bytes]) {
    const args = ['resize', '--no-progress', '--allow-shrink', '--size', `${size}B`, ...nameOptions(name)];
    await runRbd(connection, { operation: OPERATION, name, args, ...(signal && { signal }) });
  }
}
