import type { Running } from '../../process/spawn.ts';
import type { Cluster } from './cluster.ts';
import { startRbd, type RbdConnection } from './command.ts';
import { DiffEncoder } from './diff-encoder.ts';
import { mergeExtents, type Extent } from './extents.ts';
import { dataRuns, FullDiff } from './full-diff.ts';
import { checkImageName, nameOptions } from './image-name.ts';
import { changedObjects, decodeObjectMap } from './object-map.ts';
import type { OpenImage } from './open-image.ts';
import type { PipeWriter } from './pipe-writer.ts';
import type { ReadJob, SharedChanges } from './read-job.ts';
import { gone, verifyJob } from './verify.ts';

const OPERATION = 'read rbd image';
const PIECE_BYTES = 4 << 20;
const AT_ONCE = 4;
/**
 * A pipe has room for it: it is said before it is held, so that whoever waits for it begins. One thread asks Ceph and writes to the
 * pipe, and to hold takes it as long as to read so much.
 */
const SMALL_CHANGE_BYTES = 1 << 19;
/** librbd refuses to discard 2 GiB at once. */
const MAX_ZEROS = 1 << 30;

/**
 * Reads what a job says as a diff. It counts only when `write` has resolved: rbd writes a good header before it fails, what is cut
 * off looks like a good beginning, and what is under a snap that is being deleted cannot be trusted.
 */
export class JobReader {
  readonly #connection: RbdConnection;
  readonly #cluster: Cluster;
  readonly #job: ReadJob;
  readonly #begun = Promise.withResolvers<undefined>();
  /** What changed. Asked for at once: all that it says is looked at again after the read. */
  readonly extents: Promise<Extent[]>;

  constructor(connection: RbdConnection, cluster: Cluster, job: ReadJob) {
    this.#connection = connection;
    this.#cluster = cluster;
    this.#job = job;
    this.extents = job.reading.kind === 'changes' ? this.#changes(job.reading) : Promise.resolve([]);
    this.extents.catch(() => undefined);
  }

  /**
   * `onProgram` is told of a program that is started for it. `image` is the source; `held` resolves when nothing can be deleted any
   * more: what was there afterwards was there all the time, for no id is given twice.
   */
  async write(
    pipe: PipeWriter,
    from: { readonly image: Promise<OpenImage>; readonly held: Promise<unknown> },
    signal: AbortSignal,
    onProgram: (program: Running) => void,
  ): Promise<void> {
    try {
      await this.#write(pipe, { image: await from.image, held: from.held }, signal, onProgram);
    } finally {
      this.#begun.resolve(undefined);
    }
  }

  /** Resolves when it is time to hold what is read, at the latest when `write` has ended. */
  get begun(): Promise<undefined> {
    return this.#begun.promise;
  }

  async #write(
    pipe: PipeWriter,
    { image, held }: { readonly image: OpenImage; readonly held: Promise<unknown> },
    signal: AbortSignal,
    onProgram: (program: Running) => void,
  ): Promise<void> {
    const { source, bytes, reading } = this.#job;
    if (reading.kind === 'allocated') {
      const args = ['export-diff', '--no-progress', ...this.#name(), '--path', '-'];
      // Straight to our reader: nothing is copied on the way.
      const running = await this.#rbd(args, signal, pipe.fd);
      onProgram(running);
      await running.finished;
      await held;
      return verifyJob(this.#cluster, this.#job);
    }
    if (reading.kind === 'everything') {
      const running = await this.#rbd(['export', '--no-progress', ...this.#name(), '--path', '-'], signal);
      onProgram(running);
      const diff = new FullDiff(bytes, (part) => pipe.write(part), source.name.snap);
      try {
        for await (const chunk of running.stdout as AsyncIterable<Buffer>) await diff.write(chunk);
      } catch (error) {
        await running.stop();
        throw error;
      }
      await running.finished;
      await held;
      await verifyJob(this.#cluster, this.#job);
      return diff.end();
    }
    const diff = new DiffEncoder((part) => pipe.add(part));
    const base = reading.kind === 'changes' ? reading.base : source;
    diff.begin({ version: 1, fromSnap: base.name.snap, toSnap: source.name.snap, bytes });
    const extents = mergeExtents(await this.extents, bytes);
    const small = lengthOf(extents) <= SMALL_CHANGE_BYTES;
    if (!small) {
      this.#begun.resolve(undefined);
      await held;
    }
    await sayExtents(image, extents, diff, pipe);
    if (small) {
      await pipe.flush();
      this.#begun.resolve(undefined);
      await held;
    }
    await verifyJob(this.#cluster, this.#job);
    diff.end();
    await pipe.flush();
  }

  #name(): string[] {
    return nameOptions(checkImageName(this.#job.source.name));
  }

  #rbd(args: readonly string[], signal: AbortSignal, stdoutTo?: number) {
    const { name } = this.#job.source;
    const to = stdoutTo === undefined ? {} : { stdoutTo };
    return startRbd(this.#connection, { operation: OPERATION, name, args, signal, ...to });
  }

  async #changes(reading: SharedChanges): Promise<Extent[]> {
    const { image, clones, overlap } = reading;
    const { bytes } = this.#job;
    const shared = this.#sharedChanges(reading);
    const own = clones.map(async (clone) => {
      const open = await this.#cluster.openMoment(clone.name, clone);
      const extents = await open.ownExtents();
      await open.close();
      return extents.map((extent) => ({ ...extent, exists: true }));
    });
    const extents = (await Promise.all([shared, ...own])).flat();
    const told = image.clone ? extents.map((extent) => ({ ...extent, exists: true })) : extents;
    const hidden = overlap < bytes ? [{ offset: overlap, length: bytes - overlap, exists: true }] : [];
    return [...told, ...hidden];
  }

  /** What changed in the image that both snaps show. */
  async #sharedChanges(reading: SharedChanges): Promise<Extent[]> {
    const { image, from, to, by, base } = reading;
    if (from === to) return [];
    if (by === 'object-map') return this.#mappedChanges(reading);
    const open = await this.#cluster.openMoment(image.name, { imageId: image.imageId, snapId: to });
    const changes = await open.changesSince(by === 'snap-id' ? { id: from } : { name: base.name.snap });
    await open.close();
    return changes;
  }

  /**
   * A map that is invalid says that nothing changed, and the image's own flags say nothing of its snaps' maps: so each snap is
   * asked, after its map was read.
   */
  async #mappedChanges({ image, from, to }: SharedChanges): Promise<Extent[]> {
    const { imageId, name, objectBytes } = image;
    const { snaps } = await this.#cluster.look({ ...name, imageId });
    const between = snaps.filter(({ id }) => id >= from && id <= to);
    const maps: Uint8Array[] = [];
    for (const { id, bytes } of between) {
      const object = `rbd_object_map.${imageId}.${id.toString(16).padStart(16, '0')}`;
      const map = await this.#cluster.readObject(name, object);
      const open = await this.#cluster.openMoment(name, { imageId, snapId: id });
      const { flags } = open;
      await open.close();
      const became = `the object map of snap ${id} of ${name.image} became invalid`;
      if (flags !== 0) throw gone(this.#job.source.name, became);
      maps.push(decodeObjectMap(map, Math.ceil(bytes / objectBytes)));
    }
    return changedObjects(maps, objectBytes);
  }
}

async function sayExtents(
  image: OpenImage,
  extents: readonly Extent[],
  diff: DiffEncoder,
  pipe: PipeWriter,
): Promise<void> {
  const pieces = piecesOf(extents);
  const waiting: { readonly offset: number; readonly bytes: Promise<Uint8Array> | number }[] = [];
  const begin = (): void => {
    const next = pieces.next();
    if (next.done === true) return;
    const { offset, length, exists } = next.value;
    const bytes = exists ? readPiece(image, offset, length) : length;
    if (bytes instanceof Promise) bytes.catch(() => undefined);
    waiting.push({ offset, bytes });
  };
  for (let i = 0; i < AT_ONCE; i++) begin();
  for (let piece = waiting.shift(); piece !== undefined; piece = waiting.shift()) {
    const { offset, bytes } = piece;
    if (typeof bytes === 'number') diff.zero(offset, bytes);
    else sayContent(diff, offset, await bytes);
    begin();
    await pipe.drain();
  }
}

async function readPiece(image: OpenImage, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length);
  await image.read(offset, bytes);
  return bytes;
}

function lengthOf(extents: readonly Extent[]): number {
  return extents.reduce((sum, { length }) => sum + length, 0);
}

function sayContent(diff: DiffEncoder, offset: number, bytes: Uint8Array): void {
  let said = 0;
  for (const { from, to } of [...dataRuns(bytes), { from: bytes.length, to: bytes.length }]) {
    if (from > said) diff.zero(offset + said, from - said);
    if (to > from) {
      diff.write(offset + from, to - from);
      diff.data(offset + from, bytes.subarray(from, to));
    }
    said = to;
  }
}

function* piecesOf(extents: readonly Extent[]): Generator<Extent> {
  for (const { offset, length, exists } of extents) {
    const most = exists ? PIECE_BYTES : MAX_ZEROS;
    for (let done = 0; done < length; done += most)
      yield { offset: offset + done, length: Math.min(most, length - done), exists };
  }
}
