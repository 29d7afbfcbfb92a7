import type { Extent } from './extents.ts';

/** What an object map says of an object (cls/rbd/cls_rbd_types.h): 0 none, 1 written since the snap before, 2 being removed, 3 there and not written since. */
const [NONE, CLEAN] = [0, 3];
/** A length, and a header (version, compatible version, its length, the number of objects); then two bits for each object. */
const HEADER_BYTES = 14;

/** The states of the objects of an image at a snap. Throws unless the map is of so many objects. */
export function decodeObjectMap(bytes: Buffer, objects: number): Uint8Array {
  if (bytes.length < 4 + HEADER_BYTES || bytes.readUInt32LE(0) !== HEADER_BYTES)
    throw new Error('an object map of a form that is not known to us');
  const count = bytes.readBigUInt64LE(10);
  if (count !== BigInt(objects))
    throw new Error(`the object map has ${count} objects, the image ${objects} at this snap`);
  const states = new Uint8Array(objects);
  const data = bytes.subarray(4 + HEADER_BYTES);
  if (data.length < Math.ceil(objects / 4)) throw new Error('the object map is cut off');
  for (let i = 0; i < objects; i++) states[i] = (data.readUInt8(i >> 2) >> (6 - 2 * (i & 3))) & 3;
  return states;
}

/**
 * The objects that changed from the first to the last of consecutive snaps' maps. Each map tells what was written since the snap
 * before, so all of them are needed.
 */
export function changedObjects(maps: readonly Uint8Array[], objectBytes: number): Extent[] {
  const changed = new Set<number>();
  let before = maps[0] ?? new Uint8Array();
  for (const map of maps.slice(1)) {
    for (let i = 0; i < Math.max(map.length, before.length); i++) {
      const [was, is] = [before[i] ?? NONE, map[i] ?? NONE];
      const same = is === NONE ? was === NONE : is === CLEAN && was !== NONE;
      if (!same) changed.add(i);
    }
    before = map;
  }
  return [...changed]
    .sort((a, b) => a - b)
    .map((i) => ({
      offset: i * objectBytes,
      length: objectBytes,
      exists: (before[i] ?? NONE) !== NONE,
    }));
}
