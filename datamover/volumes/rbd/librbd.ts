import koffi from 'koffi';
import { DatamoverError } from '../../errors.ts';
import { LibrbdError } from './librbd-error.ts';

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
  poolName: 'int rados_pool_reverse_lookup(void *cluster, int64_t id, _Out_ uint8_t *name, size_t length)',
  namespace: 'void rados_ioctx_set_namespace(void *io, const char *name)',
  objectSize: 'int rados_stat(void *io, const char *object, _Out_ uint64_t *size, _Out_ int64_t *time)',
  readObject:
    'int rados_read(void *io, const char *object, _Out_ uint8_t *bytes, size_t length, uint64_t offset)',
} as const;
const RBD = {
  list: 'int rbd_list2(void *io, _Out_ uint8_t *images, _Inout_ size_t *count)',
  freeList: 'void rbd_image_spec_list_cleanup(uint8_t *images, size_t count)',
  open: 'int rbd_open(void *io, const char *name, _Out_ void **image, const char *snap)',
  openReadOnly: 'int rbd_open_read_only(void *io, const char *name, _Out_ void **image, const char *snap)',
  openById: 'int rbd_open_by_id_read_only(void *io, const char *id, _Out_ void **image, const char *snap)',
  close: 'int rbd_close(void *image)',
  setSnap: 'int rbd_snap_set_by_id(void *image, uint64_t snap)',
  id: 'int rbd_get_id(void *image, _Out_ uint8_t *id, size_t length)',
  stat: 'int rbd_stat(void *image, _Out_ uint8_t *info, size_t length)',
  imageSize: 'int rbd_get_size(void *image, _Out_ uint64_t *size)',
  features: 'int rbd_get_features(void *image, _Out_ uint64_t *features)',
  flags: 'int rbd_get_flags(void *image, _Out_ uint64_t *flags)',
  stripeUnit: 'int rbd_get_stripe_unit(void *image, _Out_ uint64_t *bytes)',
  stripeCount: 'int rbd_get_stripe_count(void *image, _Out_ uint64_t *count)',
  dataPool: 'int64_t rbd_get_data_pool_id(void *image)',
  overlap: 'int rbd_get_overlap(void *image, _Out_ uint64_t *bytes)',
  parent: 'int rbd_get_parent(void *image, _Out_ uint8_t *parent, _Out_ uint8_t *snap)',
  freeParent: 'void rbd_linked_image_spec_cleanup(uint8_t *parent)',
  freeParentSnap: 'void rbd_snap_spec_cleanup(uint8_t *snap)',
  snaps: 'int rbd_snap_list(void *image, _Out_ uint8_t *snaps, _Inout_ int *count)',
  freeSnaps: 'void rbd_snap_list_end(uint8_t *snaps)',
  snapKind: 'int rbd_snap_get_namespace_type(void *image, uint64_t snap, _Out_ int *kind)',
  trashName:
    'int rbd_snap_get_trash_namespace(void *image, uint64_t snap, _Out_ uint8_t *name, size_t length)',
  isProtected: 'int rbd_snap_is_protected(void *image, const char *snap, _Out_ int *answer)',
  protect: 'int rbd_snap_protect(void *image, const char *snap)',
  unprotect: 'int rbd_snap_unprotect(void *image, const char *snap)',
  setMeta: 'int rbd_metadata_set(void *image, const char *key, const char *value)',
  removeMeta: 'int rbd_metadata_remove(void *image, const char *key)',
  listMeta:
    'int rbd_metadata_list(void *image, const char *start, uint64_t max, _Out_ uint8_t *keys, _Inout_ size_t *keyBytes, _Out_ uint8_t *values, _Inout_ size_t *valueBytes)',
  read: 'int64_t rbd_read(void *image, uint64_t offset, size_t length, _Out_ uint8_t *bytes)',
  diff: 'int rbd_diff_iterate2(void *image, const char *from, uint64_t offset, uint64_t length, uint8_t parents, uint8_t objects, rbd_extent *extent, void *context)',
} as const;
koffi.proto('int rbd_extent(uint64_t offset, size_t length, int exists, void *context)');
/** Since 18.2.7 and 19.2.1: from a snap by its id, whatever namespace it is in. */
const DIFF_BY_ID =
  'int rbd_diff_iterate3(void *image, uint64_t from, uint64_t offset, uint64_t length, uint32_t flags, rbd_extent *extent, void *context)';

type Functions = Record<keyof typeof RADOS | keyof typeof RBD, Async> & {
  readonly diffById: Async | undefined;
};

/**
 * What is called in a thread gets a stack of koffi's, of 128 KiB. Ceph's code takes what threads of glibc have: with less it writes
 * over what lies below, and the process dies, once in some hundred calls.
 */
const STACK_BYTES = 8 << 20;

let functions: Functions | undefined;

export function library(): Functions {
  if (functions !== undefined) return functions;
  try {
    koffi.config({ async_stack_size: STACK_BYTES, sync_stack_size: STACK_BYTES });
    const rados = koffi.load('librados.so.2');
    const rbd = koffi.load('librbd.so.1');
    const all = (from: typeof rbd, signatures: Record<string, string>): [string, Async][] =>
      Object.entries(signatures).map(([name, signature]) => [name, from.func(signature)]);
    let diffById: Async | undefined;
    try {
      diffById = rbd.func(DIFF_BY_ID);
    } catch {
      diffById = undefined;
    }
    const named = Object.fromEntries([...all(rados, RADOS), ...all(rbd, RBD)]) as Omit<Functions, 'diffById'>;
    functions = { ...named, diffById };
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

/** Calls what asks nobody else. */
export function ask(what: string, call: Call, ...args: unknown[]): number {
  const value = Number(call(...args));
  if (value < 0) throw LibrbdError.of(what, -value);
  return value;
}

/** Calls what waits for the cluster, in a thread of libuv's pool. */
export async function inThread(what: string, call: Async, ...args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error, answer) => {
      const value = Number(answer);
      if (error) reject(error instanceof Error ? error : new Error(what));
      else if (value < 0) reject(LibrbdError.of(what, -value));
      else resolve(value);
    });
  });
}

/** V8 keeps the content of arrays of up to 64 bytes among its own objects (typed_array_max_size_in_heap), and moves them about. */
const FIXED_BYTES = 128;

/**
 * Memory of at least so many zeros that a thread may write to: it stays where it is. What is written to the old place of an array
 * that moved makes anything of this process, a handle of Ceph's above all.
 */
export function fixed(bytes: number): Buffer<ArrayBuffer> {
  return Buffer.alloc(Math.max(bytes, FIXED_BYTES));
}

/** A number that a function gives through a pointer. */
export function numberOf(what: string, call: Call, handle: unknown): number {
  const value = [0];
  ask(what, call, handle, value);
  return Number(value[0]);
}

/** The text at an address that the library gave. */
export function textAt(pointer: bigint): string {
  return pointer === 0n ? '' : (koffi.decode(pointer, 'char', -1) as string);
}

/** The text that a function wrote into memory of ours. */
export function textIn(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}
