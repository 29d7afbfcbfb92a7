import type { RbdConnection } from './command.ts';
import type { ImageLook, ImagePlace } from './image.ts';
import { ask, fixed, hasDiffById, inThread, library, textAt, textIn } from './librbd.ts';
import { isErrnoOf } from './librbd-error.ts';
import { OpenImage } from './open-image.ts';
import type { Moment } from './record.ts';

const [ENOENT, ERANGE] = [2, 34];
const MAX_POOL_NAME = 512;
/** Of rbd_image_spec_t: two pointers. */
const IMAGE_SPEC_BYTES = 16;

/** Where images are: a pool, or a namespace of it. */
export interface PoolPlace {
  readonly pool: string;
  readonly namespace?: string;
}

/** Where none is named and there is none, CEPH_ARGS may tell all that is needed. */
function readConfiguration(cluster: unknown, conf: string | undefined): void {
  try {
    ask(`reading ${conf ?? 'ceph.conf'}`, library().readFile, cluster, conf ?? null);
  } catch (error) {
    if (conf !== undefined || !isErrnoOf(error, ENOENT)) throw error;
  }
}

/** A connection by librados that lasts as long as its process. */
export class Cluster {
  readonly #cluster: unknown;
  readonly #pools = new Map<string, Promise<unknown>>();

  private constructor(cluster: unknown) {
    this.#cluster = cluster;
  }

  static async connect({ conf, user, keyring, patience }: RbdConnection): Promise<Cluster> {
    const { create, parseEnvironment, set, connect } = library();
    try {
      const handle: unknown[] = [null];
      ask('making a client', create, handle, user ?? 'admin');
      const cluster = handle[0];
      readConfiguration(cluster, conf);
      ask('reading CEPH_ARGS', parseEnvironment, cluster, null);
      const options = {
        client_mount_timeout: String(Math.max(1, Math.ceil(patience ?? 30))),
        // Nothing is read twice.
        rbd_cache: 'false',
        // How many objects are asked at a time what changed in them: with 10 that takes twice as long.
        rbd_concurrent_management_ops: '64',
        ...(keyring !== undefined && { keyring }),
      };
      for (const [option, value] of Object.entries(options))
        ask(`setting ${option}`, set, cluster, option, value);
      await inThread('no connection', connect, cluster);
      return new Cluster(cluster);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      // No errno: that nobody answers says nothing of an image. The words are those of rbd (command.ts).
      throw new Error(`couldn't connect to the cluster as client.${user ?? 'admin'}: ${why}`, { cause });
    }
  }

  /** Opens an image, works with it and closes it. Read-only it is not watched: what is open knows nothing of what others change. */
  async withImage<T>(
    place: ImagePlace,
    mode: 'read' | 'write',
    work: (image: OpenImage) => Promise<T>,
  ): Promise<T> {
    const image = await this.openImage(place, mode);
    try {
      return await work(image);
    } finally {
      await image.close();
    }
  }

  async openImage(place: ImagePlace, mode: 'read' | 'write' = 'read'): Promise<OpenImage> {
    const { image, imageId, snap } = place;
    const { open, openReadOnly, openById } = library();
    const io = await this.#pool(place);
    const handle: unknown[] = [null];
    const what = `opening image ${image}${snap === undefined ? '' : ` at ${snap}`}`;
    if (imageId !== undefined) await inThread(what, openById, io, imageId, handle, snap ?? null);
    else await inThread(what, mode === 'write' ? open : openReadOnly, io, image, handle, snap ?? null);
    return new OpenImage(handle[0]);
  }

  /** An image, also one in the trash, at a snap of any namespace. */
  async openMoment(
    place: PoolPlace & { readonly image: string },
    { imageId, snapId }: Moment,
  ): Promise<OpenImage> {
    const { pool, namespace, image: name } = place;
    const image = await this.openImage({
      pool,
      ...(namespace !== undefined && { namespace }),
      image: name,
      imageId,
    });
    try {
      await image.setSnap(snapId);
      return image;
    } catch (error) {
      await image.close();
      throw error;
    }
  }

  async look(place: ImagePlace): Promise<ImageLook> {
    return this.withImage(place, 'read', async (open) => {
      const image = await open.facts(place, (id) => this.#poolName(id));
      return { image, snaps: await open.snaps(), diffById: hasDiffById() };
    });
  }

  /** The names of all images of a pool. */
  async names(place: PoolPlace): Promise<string[]> {
    const { list, freeList } = library();
    const io = await this.#pool(place);
    for (let room = 256; ;) {
      const images = Buffer.alloc(room * IMAGE_SPEC_BYTES);
      const count = [room];
      try {
        await inThread('listing images', list, io, images, count);
      } catch (error) {
        if (!isErrnoOf(error, ERANGE)) throw error;
        room = Math.max(Number(count[0]), room * 2);
        continue;
      }
      const found = Number(count[0]);
      const names = Array.from({ length: found }, (_, i) =>
        textAt(images.readBigUInt64LE(i * IMAGE_SPEC_BYTES + 8)),
      );
      freeList(images, found);
      return names;
    }
  }

  /** The bytes of an object. */
  async readObject(place: PoolPlace, name: string): Promise<Buffer> {
    const { objectSize, readObject } = library();
    const io = await this.#pool(place);
    const bytes = [0];
    await inThread(`looking for object ${name}`, objectSize, io, name, bytes, [0]);
    const length = Number(bytes[0]);
    const content = fixed(length);
    const read = await inThread(`reading object ${name}`, readObject, io, name, content, length, 0);
    return content.subarray(0, read);
  }

  #poolName(id: number): string {
    const name = Buffer.alloc(MAX_POOL_NAME);
    ask(`looking for pool ${id}`, library().poolName, this.#cluster, id, name, name.length);
    return textIn(name);
  }

  #pool({ pool, namespace }: PoolPlace): Promise<unknown> {
    const key = `${pool}/${namespace ?? ''}`;
    const open = this.#pools.get(key) ?? this.#openPool(pool, namespace);
    this.#pools.set(key, open);
    // One that is not there may be made later.
    open.catch(() => this.#pools.delete(key));
    return open;
  }

  async #openPool(name: string, namespace: string | undefined): Promise<unknown> {
    const io: unknown[] = [null];
    await inThread(`opening pool ${name}`, library().pool, this.#cluster, name, io);
    if (namespace !== undefined) library().namespace(io[0], namespace);
    return io[0];
  }
}
