import koffi from 'koffi';
import { DatamoverError } from '../../errors.ts';
import type { RbdConnection } from './command.ts';
import type { Extent } from './extents.ts';

type Call = (...args: unknown[]) => number | bigint;
type Async = Call & {
  async: (...args: [...unknown[], (error: unknown, answer: number | bigint) => void]) => void;
};

/** The part of Ceph's client library (rados/librados.h, rbd/librbd.h) that is called here; to be read in full there. */
const RADOS = {
  create: 'int rados_create(_Out_ void **cluster, const char *id)',
  readFile: 'int rados_conf_read_file(void *cluster, const char *path)',
  parseEnvironment: 'int rados_conf_parse_env(void *cluster, const char *name)',
  set: 'int rados_conf_set(void *cluster, const char *option, const char *value)',
  connect: 'int rados_connect(void *cluster)',
  pool: 'int rados_ioctx_create(void *cluster, const char *pool, _Out_ void **io)',
  namespace: 'void rados_ioctx_set_namespace(void *io, const char *name)',
  size: 'int rados_stat(void *io, const char *object, _Out_ uint64_t *size, _Out_ int64_t *time)',
  readObject:
    'int rados_read(void *io, const char *object, _Out_ uint8_t *bytes, size_t length, uint64_t offset)',
} as const;
const RBD = {
  openById: 'int rbd_open_by_id_read_only(void *io, const char *id, _Out_ void **image, const char *snap)',
  close: 'int rbd_close(void *image)',
  setSnap: 'int rbd_snap_set_by_id(void *image, uint64_t snap)',
  imageSize: 'int rbd_get_size(void *image, _Out_ uint64_t *size)',
  flags: 'int rbd_get_flags(void *image, _Out_ uint64_t *flags)',
  read: 'int64_t rbd_read(void *image, uint64_t offset, size_t length, _Out_ uint8_t *bytes)',
} as const;
koffi.proto('int rbd_extent(uint64_t offset, size_t length, int exists, void *context)');
const DIFF =
  'int rbd_diff_iterate2(void *image, const char *from, uint64_t offset, uint64_t length, uint8_t parents, uint8_t objects, rbd_extent *extent, void *context)';
/** Since 18.2.7 and 19.2.1: from a snap by its id, whatever namespace it is in. */
const DIFF_BY_ID =
  'int rbd_diff_iterate3(void *image, uint64_t from, uint64_t offset, uint64_t length, uint32_t flags, rbd_extent *extent, void *context)';
const INCLUDE_PARENT = 1;

type Functions = Record<keyof typeof RADOS | keyof typeof RBD, Async> & {
  readonly diff: Async;
  readonly diffById: Async | undefined;
};

let functions: Functions | undefined;

function library(): Functions {
  if (functions !== undefined) return functions;
  try {
    const rados = koffi.load('librados.so.2');
    const rbd = koffi.load('librbd.so.1');
    const call = (from: typeof rbd, signature: string): Async => from.func(signature);
    const all = (from: typeof rbd, signatures: Record<string, string>): [string, Async][] =>
      Object.entries(signatures).map(([name, signature]) => [name, call(from, signature)]);
    let diffById: Async | undefined;
    try {
      diffById = call(rbd, DIFF_BY_ID);
    } catch {
      diffById = undefined;
    }
    const named = Object.fromEntries([...all(rados, RADOS), ...all(rbd, RBD)]) as Omit<
      Functions,
      'diff' | 'diffById'
    >;
    functions = { ...named, diff: call(rbd, DIFF), diffById };
    return functions;
  } catch (cause) {
    const hint = 'install librbd1 (ceph-common brings it)';
    throw new DatamoverError({ operation: 'load', subject: "Ceph's client library", cause, hint });
  }
}

/** Whether this librbd tells changes between snaps by their ids. */
export function hasDiffById(): boolean {
  return library().diffById !== undefined;
}

/** An error of the library: its negative answers are errnos. */
export class LibrbdError extends Error {
  override readonly name = 'LibrbdError';
  readonly errno: number;

  constructor(what: string, errno: number) {
    super(`${what} failed with errno ${errno}`);
    this.errno = errno;
  }
}

function checked(what: string, answer: number | bigint): number {
  const value = Number(answer);
  if (value < 0) throw new LibrbdError(what, -value);
  return value;
}

/** In a thread of libuv's pool, of which four run at a time. */
async function calledInThread(what: string, call: Async, ...args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error, answer) => {
      const value = Number(answer);
      if (error) reject(error instanceof Error ? error : new Error(what));
      else if (value < 0) reject(new LibrbdError(what, -value));
      else resolve(value);
    });
  });
}

/** A connection that lasts as long as its process. */
export class Cluster {
  readonly #cluster: unknown;

  private constructor(cluster: unknown) {
    this.#cluster = cluster;
  }

  static async connect({ conf, user, keyring, patience }: RbdConnection): Promise<Cluster> {
    const { create, readFile, parseEnvironment, set, connect } = library();
    const handle: unknown[] = [null];
    checked('rados_create', create(handle, user ?? 'admin'));
    const cluster = handle[0];
    checked('rados_conf_read_file', readFile(cluster, conf ?? null));
    checked('rados_conf_parse_env', parseEnvironment(cluster, null));
    const options = {
      client_mount_timeout: String(Math.max(1, Math.ceil(patience ?? 30))),
      // Nothing is read twice.
      rbd_cache: 'false',
      ...(keyring !== undefined && { keyring }),
    };
    for (const [option, value] of Object.entries(options)) checked(option, set(cluster, option, value));
    await calledInThread('rados_connect', connect, cluster);
    return new Cluster(cluster);
  }

  pool(name: string, namespace?: string): Pool {
    const io: unknown[] = [null];
    checked(`opening pool ${name}`, library().pool(this.#cluster, name, io));
    if (namespace !== undefined) library().namespace(io[0], namespace);
    return new Pool(io[0]);
  }
}

export class Pool {
  readonly #io: unknown;

  constructor(io: unknown) {
    this.#io = io;
  }

  /** An image, also one in the trash, at a snap of any namespace. */
  async openImage(imageId: string, snapId: number): Promise<Image> {
    const { openById, setSnap } = library();
    const handle: unknown[] = [null];
    await calledInThread(`opening image ${imageId}`, openById, this.#io, imageId, handle, null);
    const image = new Image(handle[0]);
    await calledInThread(`opening snap ${snapId}`, setSnap, handle[0], snapId);
    return image;
  }

  /** The bytes of an object. */
  readObject(name: string): Buffer {
    const { size, readObject } = library();
    const bytes = [0];
    checked(`looking for object ${name}`, size(this.#io, name, bytes, [0]));
    const content = Buffer.alloc(Number(bytes[0]));
    const read = checked(`reading object ${name}`, readObject(this.#io, name, content, content.length, 0));
    return content.subarray(0, read);
  }
}

export class Image {
  readonly #image: unknown;

  constructor(image: unknown) {
    this.#image = image;
  }

  get bytes(): number {
    const size = [0];
    checked('rbd_get_size', library().imageSize(this.#image, size));
    return Number(size[0]);
  }

  /** Of the snap that is open: bit 0 for an invalid object map, bit 1 for invalid fast-diff. */
  get flags(): number {
    const flags = [0];
    checked('rbd_get_flags', library().flags(this.#image, flags));
    return Number(flags[0]);
  }

  async read(offset: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.subarray(done);
      const count = await calledInThread(
        'rbd_read',
        library().read,
        this.#image,
        offset + done,
        rest.length,
        rest,
      );
      if (count === 0) throw new Error(`the image ends at byte ${offset + done}`);
      done += count;
    }
  }

  /** What the image has of its own at the snap, not what it sees of its parent. Ascending. */
  async ownExtents(): Promise<Extent[]> {
    const { diff } = library();
    return this.#extents((extent) =>
      calledInThread('rbd_diff_iterate2', diff, this.#image, null, 0, this.bytes, 0, 0, extent, null),
    );
  }

  /** What changed since an older snap. Ascending. */
  async changesSince(snapId: number): Promise<Extent[]> {
    const { diffById } = library();
    if (diffById === undefined) throw new Error('this librbd has no rbd_diff_iterate3');
    const what = `telling changes since snap ${snapId}`;
    return this.#extents((extent) =>
      calledInThread(what, diffById, this.#image, snapId, 0, this.bytes, INCLUDE_PARENT, extent, null),
    );
  }

  close(): void {
    library().close(this.#image);
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
