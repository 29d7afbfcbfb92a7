/** `shared-main.js JOB` prints the diff of a SharedJob and ends with status 0 only when it counts. */
import { describeCause } from '../../errors.ts';
import { DiffEncoder } from './diff-encoder.ts';
import { mergeExtents, type Extent } from './extents.ts';
import { dataRuns } from './full-diff.ts';
import { listSnapsById } from './image.ts';
import { Cluster, type Image, type Pool } from './librbd.ts';
import { changedObjects, decodeObjectMap } from './object-map.ts';
import type { SharedJob } from './shared-job.ts';
import { gone, verifySnaps } from './verify.ts';
import { writeAll } from './write-all.ts';

const STDOUT = 1;
const PIECE_BYTES = 4 << 20;
/** As many as the threads that librbd is called in. */
const AT_ONCE = 4;
/** librbd refuses to discard 2 GiB at once. */
const MAX_ZEROS = 1 << 30;

async function main(job: SharedJob): Promise<void> {
  const { connection, source, base, bytes, overlap, clones } = job;
  const cluster = await Cluster.connect(connection);
  const extents = (await sharedChanges(cluster, job)).map((extent) => ({
    ...extent,
    exists: extent.exists || job.image.clone,
  }));
  for (const clone of clones) {
    const open = await openPinned(cluster, clone);
    extents.push(...(await open.ownExtents()).map((extent) => ({ ...extent, exists: true })));
    open.close();
  }
  if (overlap < bytes) extents.push({ offset: overlap, length: bytes - overlap, exists: true });

  const diff = new DiffEncoder((part) => writeAll(STDOUT, part));
  diff.begin({ version: 1, fromSnap: base.name.snap, toSnap: source.name.snap, bytes });
  await sayExtents(await openPinned(cluster, source), mergeExtents(extents, bytes), diff);
  await verify(job);
  diff.end();
}

/** What changed in the image that both snaps show. */
async function sharedChanges(cluster: Cluster, job: SharedJob): Promise<Extent[]> {
  const { image, from, to, mechanism } = job;
  if (from === to) return [];
  const pool = cluster.pool(image.name.pool, image.name.namespace);
  if (mechanism === 'object-map') return mappedChanges(pool, job);
  const open = await pool.openImage(image.imageId, to);
  const changes = await open.changesSince(from);
  open.close();
  return changes;
}

/**
 * A map that is invalid says that nothing changed, and the image's own flags say nothing of its snaps' maps: so each snap is
 * asked, after its map was read.
 */
async function mappedChanges(
  pool: Pool,
  { connection, image, from, to, source }: SharedJob,
): Promise<Extent[]> {
  const { imageId, name, objectBytes } = image;
  const snaps = await listSnapsById(connection, name, imageId);
  const between = snaps.filter(({ id }) => id >= from && id <= to);
  const maps: Uint8Array[] = [];
  for (const { id, bytes } of between) {
    const map = pool.readObject(`rbd_object_map.${imageId}.${id.toString(16).padStart(16, '0')}`);
    const open = await pool.openImage(imageId, id);
    const flags = open.flags;
    open.close();
    if (flags !== 0) throw gone(source.name, `the object map of snap ${id} of ${name.image} became invalid`);
    maps.push(decodeObjectMap(map, Math.ceil(bytes / objectBytes)));
  }
  return changedObjects(maps, objectBytes);
}

async function openPinned(cluster: Cluster, { name, imageId, snapId }: SharedJob['source']): Promise<Image> {
  return cluster.pool(name.pool, name.namespace).openImage(imageId, snapId);
}

async function sayExtents(image: Image, extents: readonly Extent[], diff: DiffEncoder): Promise<void> {
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
  }
}

async function readPiece(image: Image, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length);
  await image.read(offset, bytes);
  return bytes;
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

/** Afterwards: whoever flattens or deletes a clone takes the shared image's snap away with it. */
async function verify({ connection, source, clones, image, from, to }: SharedJob): Promise<void> {
  const others = clones.filter(({ imageId }) => imageId !== source.imageId);
  await verifySnaps(connection, [source, ...others]);
  const ids = new Set((await listSnapsById(connection, image.name, image.imageId)).map(({ id }) => id));
  const lost = [from, to].find((id) => !ids.has(id));
  if (lost !== undefined)
    throw gone(
      source.name,
      `snap ${lost} of ${image.name.image}, which tells what changed, went while it was read`,
    );
}

try {
  await main(JSON.parse(process.argv[2] ?? '') as SharedJob);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${describeCause(error)}\n`);
  process.exit(1);
}
