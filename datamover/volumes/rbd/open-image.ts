import koffi from 'koffi';
import type { Extent } from './extents.ts';
import type { PoolPlace } from './cluster.ts';
import type { CloneParent, RbdImage, RbdSnap, SnapKind } from './image.ts';
import { ask, fixed, inThread, library, numberOf, textAt, textIn } from './librbd.ts';
import { isErrnoOf } from './librbd-error.ts';

const [ENOENT, ERANGE] = [2, 34];
const INCLUDE_PARENT = 1;
const MAX_NAME = 4096;
/** Of rbd_snap_info_t: id, size, name; of rbd_linked_image_spec_t and rbd_snap_spec_t. */
const [SNAP_BYTES, PARENT_BYTES, PARENT_SNAP_BYTES] = [24, 48, 24];
const INFO_BYTES = 160;
/** rbd_snap_namespace_type_t. */
const KINDS: readonly SnapKind[] = ['user', 'group', 'trash', 'mirror'];
/** rbd/features.h: the names of its bits. */
const FEATURES = [
  ...['layering', 'striping', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten', 'journaling'],
  ...['data-pool', 'operations', 'migrating', 'non-primary', 'dirty-cache'],
];

/** An image that librbd has open. */
export class OpenImage {
  readonly #image: unknown;

  constructor(image: unknown) {
    this.#image = image;
  }

  async facts(place: PoolPlace, poolName: (id: number) => string): Promise<RbdImage> {
    const { id, stat, features, stripeUnit, stripeCount, dataPool } = library();
    const name = Buffer.alloc(MAX_NAME);
    ask('telling the id of an image (of format 2)', id, this.#image, name, name.length);
    const info = Buffer.alloc(INFO_BYTES);
    ask('telling the form of an image', stat, this.#image, info, info.length);
    const bits = BigInt(numberOf('telling features', features, this.#image));
    const named = FEATURES.filter((_, i) => ((bits >> BigInt(i)) & 1n) === 1n);
    const striped = named.includes('striping');
    const pool = named.includes('data-pool')
      ? poolName(ask('telling the data pool', dataPool, this.#image))
      : place.pool;
    const parent = await this.#parent();
    return {
      id: textIn(name),
      bytes: this.bytes,
      objectBytes: Number(info.readBigUInt64LE(8)),
      features: named,
      ...(striped && {
        stripeUnit: numberOf('telling stripes', stripeUnit, this.#image),
        stripeCount: numberOf('telling stripes', stripeCount, this.#image),
      }),
      ...(pool !== place.pool && { dataPool: pool }),
      ...(parent !== undefined && { parent }),
    };
  }

  /** Undefined for an image that is no clone, or no more; and where its parent's snap is on its way out. */
  async #parent(): Promise<CloneParent | undefined> {
    const { parent, freeParent, freeParentSnap, overlap } = library();
    const image = fixed(PARENT_BYTES);
    const snap = fixed(PARENT_SNAP_BYTES);
    try {
      await inThread('telling the parent', parent, this.#image, image, snap);
    } catch (error) {
      if (isErrnoOf(error, ENOENT)) return undefined;
      throw error;
    }
    const [pool, namespace, imageId, name] = [8, 16, 24, 32].map((at) => textAt(image.readBigUInt64LE(at)));
    const snapId = Number(snap.readBigUInt64LE(0));
    freeParent(image);
    freeParentSnap(snap);
    if (pool === undefined || name === undefined || imageId === undefined || imageId === '') return undefined;
    return {
      pool,
      ...(namespace !== undefined && namespace !== '' && { namespace }),
      image: name,
      imageId,
      snapId,
      overlap: numberOf('telling the overlap', overlap, this.#image),
    };
  }

  /** The oldest first. */
  async snaps(): Promise<RbdSnap[]> {
    const { snaps, freeSnaps } = library();
    for (let room = 64; ;) {
      const list = Buffer.alloc(room * SNAP_BYTES);
      const count = [room];
      let found: number;
      try {
        found = await inThread('listing snaps', snaps, this.#image, list, count);
      } catch (error) {
        if (!isErrnoOf(error, ERANGE)) throw error;
        room = Math.max(Number(count[0]), room * 2);
        continue;
      }
      const told = Array.from({ length: found }, (_, i) => this.#snap(list.subarray(i * SNAP_BYTES)));
      freeSnaps(list);
      return told.sort((a, b) => a.id - b.id);
    }
  }

  #snap(info: Buffer): RbdSnap {
    const { snapKind, trashName } = library();
    const id = Number(info.readBigUInt64LE(0));
    const value = [0];
    ask(`telling what snap ${id} is`, snapKind, this.#image, id, value);
    const kind = KINDS[Number(value[0])] ?? 'unknown';
    const told = { id, name: textAt(info.readBigUInt64LE(16)), bytes: Number(info.readBigUInt64LE(8)), kind };
    if (kind !== 'trash') return told;
    const original = Buffer.alloc(MAX_NAME);
    ask(`telling what snap ${id} was called`, trashName, this.#image, id, original, original.length);
    return { ...told, originalName: textIn(original) };
  }

  async setSnap(snapId: number): Promise<void> {
    await inThread(`opening snap ${snapId}`, library().setSnap, this.#image, snapId);
  }

  get bytes(): number {
    return numberOf('telling the size', library().imageSize, this.#image);
  }

  /** Of the snap that is open: bit 0 for an invalid object map, bit 1 for invalid fast-diff. */
  get flags(): number {
    return numberOf('telling flags', library().flags, this.#image);
  }

  /** The image-meta. */
  async listMeta(): Promise<Map<string, string>> {
    const { listMeta } = library();
    for (let room = 16 << 10; ; room *= 4) {
      const [keys, values] = [Buffer.alloc(room), Buffer.alloc(room)];
      const [keyBytes, valueBytes] = [[room], [room]];
      try {
        await inThread(
          'listing image-meta',
          listMeta,
          this.#image,
          '',
          0,
          keys,
          keyBytes,
          values,
          valueBytes,
        );
      } catch (error) {
        if (!isErrnoOf(error, ERANGE)) throw error;
        continue;
      }
      const texts = textsIn(values, Number(valueBytes[0]));
      return new Map(textsIn(keys, Number(keyBytes[0])).map((key, i) => [key, texts[i] ?? '']));
    }
  }

  async setMeta(key: string, value: string): Promise<void> {
    await inThread('setting image-meta', library().setMeta, this.#image, key, value);
  }

  async removeMeta(key: string): Promise<void> {
    await inThread('removing image-meta', library().removeMeta, this.#image, key);
  }

  async isProtected(snap: string): Promise<boolean> {
    const answer = [0];
    await inThread(`asking about snap ${snap}`, library().isProtected, this.#image, snap, answer);
    return answer[0] !== 0;
  }

  async protect(snap: string): Promise<void> {
    await inThread(`protecting snap ${snap}`, library().protect, this.#image, snap);
  }

  async unprotect(snap: string): Promise<void> {
    await inThread(`unprotecting snap ${snap}`, library().unprotect, this.#image, snap);
  }

  async read(offset: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.subarray(done);
      const count = await inThread(
        'reading the image',
        library().read,
        ...[this.#image, offset + done, rest.length, rest],
      );
      if (count === 0) throw new Error(`the image ends at byte ${offset + done}`);
      done += count;
    }
  }

  /** What the image has of its own at the snap, not what it sees of its parent. Ascending. */
  async ownExtents(): Promise<Extent[]> {
    const { diff } = library();
    return this.#extents((extent) =>
      inThread('telling what is allocated', diff, this.#image, null, 0, this.bytes, 0, 0, extent, null),
    );
  }

  /** What changed since an older snap of the image. Ascending. */
  async changesSince(from: { readonly name: string } | { readonly id: number }): Promise<Extent[]> {
    const { diff, diffById } = library();
    const end = this.bytes;
    if ('name' in from) {
      const what = `telling changes since snap ${from.name}`;
      return this.#extents((extent) =>
        inThread(what, diff, this.#image, from.name, 0, end, INCLUDE_PARENT, 0, extent, null),
      );
    }
    if (diffById === undefined) throw new Error('this librbd has no rbd_diff_iterate3');
    const what = `telling changes since snap ${from.id}`;
    return this.#extents((extent) =>
      inThread(what, diffById, this.#image, from.id, 0, end, INCLUDE_PARENT, extent, null),
    );
  }

  async close(): Promise<void> {
    await inThread('closing the image', library().close, this.#image);
  }

  async #extents(iterate: (callback: unknown) => Promise<number>): Promise<Extent[]> {
    const extents: Extent[] = [];
    const callback = koffi.register((offset: number | bigint, length: number | bigint, exists: number) => {
      extents.push({ offset: Number(offset), length: Number(length), exists: exists !== 0 });
      return 0;
    }, 'rbd_extent *');
    try {
      await iterate(callback);
    } finally {
      koffi.unregister(callback);
    }
    return extents.sort((a, b) => a.offset - b.offset);
  }
}

/** Texts with a zero byte after each. */
function textsIn(bytes: Buffer, length: number): string[] {
  return bytes.toString('utf8', 0, length).split('\0').slice(0, -1);
}
