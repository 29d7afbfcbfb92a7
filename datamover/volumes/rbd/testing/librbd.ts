import koffi from 'koffi';
import type { CephEndpoint } from '../../../../e2e/servers/ceph.ts';

type Call = (...args: unknown[]) => number | bigint;

let library: Record<string, Call> | undefined;

/** Ceph's own client library: changes images byte by byte, as a virtual machine would, which no command line tool does. */
function librbd(): Record<string, Call> {
  if (library !== undefined) return library;
  const rados = koffi.load('librados.so.2');
  const rbd = koffi.load('librbd.so.1');
  const call = (lib: typeof rbd, signature: string): Call => lib.func(signature);
  library = {
    create: call(rados, 'int rados_create(_Out_ void **cluster, const char *id)'),
    readFile: call(rados, 'int rados_conf_read_file(void *cluster, const char *path)'),
    set: call(rados, 'int rados_conf_set(void *cluster, const char *option, const char *value)'),
    connect: call(rados, 'int rados_connect(void *cluster)'),
    ioctx: call(rados, 'int rados_ioctx_create(void *cluster, const char *pool, _Out_ void **io)'),
    namespace: call(rados, 'void rados_ioctx_set_namespace(void *io, const char *name)'),
    leave: call(rados, 'void rados_ioctx_destroy(void *io)'),
    shutdown: call(rados, 'void rados_shutdown(void *cluster)'),
    open: call(rbd, 'int rbd_open(void *io, const char *name, _Out_ void **image, const char *snap)'),
    close: call(rbd, 'int rbd_close(void *image)'),
    size: call(rbd, 'int rbd_get_size(void *image, _Out_ uint64_t *size)'),
    read: call(rbd, 'int64_t rbd_read(void *image, uint64_t offset, size_t length, _Out_ uint8_t *bytes)'),
    write: call(rbd, 'int64_t rbd_write(void *image, uint64_t offset, size_t length, const uint8_t *bytes)'),
    discard: call(rbd, 'int rbd_discard(void *image, uint64_t offset, uint64_t length)'),
    resize: call(rbd, 'int rbd_resize(void *image, uint64_t size)'),
    snap: call(rbd, 'int rbd_snap_create(void *image, const char *name)'),
    removeSnap: call(rbd, 'int rbd_snap_remove(void *image, const char *name)'),
    protectSnap: call(rbd, 'int rbd_snap_protect(void *image, const char *name)'),
    rollBack: call(rbd, 'int rbd_snap_rollback(void *image, const char *name)'),
  };
  return library;
}

/** Calls a function whose negative answer is an errno. */
function ok(name: string, ...args: unknown[]): number {
  const answer = Number(librbd()[name]?.(...args) ?? -1);
  if (answer < 0) throw new Error(`librbd: ${name} failed with errno ${-answer}`);
  return answer;
}

/** A connection to the cluster; close it after its images, or the test does not end. */
export class Librbd {
  readonly #cluster: unknown;
  readonly #io: unknown;

  constructor(ceph: CephEndpoint, namespace?: string) {
    const cluster: unknown[] = [null];
    ok('create', cluster, 'admin');
    ok('readFile', cluster[0], ceph.environment.CEPH_CONF);
    // A discard clears exactly what it names; by default librbd leaves what does not fill 64 KiB.
    ok('set', cluster[0], 'rbd_skip_partial_discard', 'false');
    // Its calls hold up the whole process: one that a dead server never answers would hold up the run.
    for (const server of ['osd', 'mon']) ok('set', cluster[0], `rados_${server}_op_timeout`, '120');
    ok('connect', cluster[0]);
    const io: unknown[] = [null];
    ok('ioctx', cluster[0], ceph.pool, io);
    if (namespace !== undefined) librbd()['namespace']?.(io[0], namespace);
    this.#cluster = cluster[0];
    this.#io = io[0];
  }

  open(name: string, snap: string | null = null): OpenImage {
    const image: unknown[] = [null];
    ok('open', this.#io, name, image, snap);
    return new OpenImage(image[0]);
  }

  /** The whole content of an image or a snap. */
  read(name: string, snap: string | null = null): Buffer {
    const image = this.open(name, snap);
    const bytes = image.read();
    image.close();
    return bytes;
  }

  close(): void {
    librbd()['leave']?.(this.#io);
    librbd()['shutdown']?.(this.#cluster);
  }
}

export class OpenImage {
  readonly #image: unknown;

  constructor(image: unknown) {
    this.#image = image;
  }

  get size(): number {
    const size = [0];
    ok('size', this.#image, size);
    return Number(size[0]);
  }

  read(): Buffer {
    const bytes = Buffer.alloc(this.size);
    for (let at = 0; at < bytes.length;)
      at += ok('read', this.#image, at, bytes.length - at, bytes.subarray(at));
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    ok('write', this.#image, offset, bytes.length, bytes);
  }

  discard(offset: number, length: number): void {
    ok('discard', this.#image, offset, length);
  }

  resize(bytes: number): void {
    ok('resize', this.#image, bytes);
  }

  snap(name: string): void {
    ok('snap', this.#image, name);
  }

  removeSnap(name: string): void {
    ok('removeSnap', this.#image, name);
  }

  protectSnap(name: string): void {
    ok('protectSnap', this.#image, name);
  }

  rollBack(snap: string): void {
    ok('rollBack', this.#image, snap);
  }

  close(): void {
    ok('close', this.#image);
  }
}
