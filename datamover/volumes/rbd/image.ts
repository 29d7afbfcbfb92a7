import { DatamoverError } from '../../errors.ts';
import { askRbd, type RbdConnection } from './command.ts';
import { checkImageName, formatImageName, nameOptions, withoutSnap, type ImageName } from './image-name.ts';

/** What an image is, as `rbd info` tells. */
export interface RbdImage {
  /** Ceph's own id: stays when the image is renamed, and is another when one of the same name is made anew. */
  readonly id: string;
  readonly bytes: number;
  readonly objectBytes: number;
  readonly features: readonly string[];
  /** `object map invalid`, `fast diff invalid`: then Ceph's own lists of changes are not to be trusted. */
  readonly flags: readonly string[];
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
  /** Where the data is, if not in the image's pool. */
  readonly dataPool?: string;
  /** Of a clone that is not flattened. */
  readonly parent?: RbdParent;
}

export interface RbdParent {
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
  readonly imageId: string;
  readonly snap: string;
  /** Whether the parent itself lies in the pool's trash. */
  readonly trash: boolean;
  /** Bytes from the start of the clone in which it shows its parent where it has nothing of its own. */
  readonly overlap: number;
}

export interface RbdSnap {
  /** Ascends with time within a pool; never used twice. */
  readonly id: number;
  readonly name: string;
  readonly bytes: number;
  readonly protected: boolean;
  /** Only snaps of kind `user` can be named in commands; deleted ones that clones still need are `trash`. */
  readonly kind: string;
  /** What a snap in the trash was called. */
  readonly originalName?: string;
}

/** What the image is. Throws when it, or the snap that `name` has, does not exist. */
export async function identify(
  connection: RbdConnection,
  name: ImageName,
  signal?: AbortSignal,
): Promise<RbdImage> {
  return askForImage(connection, checkImageName(name), nameOptions(name), signal);
}

async function askForImage(
  connection: RbdConnection,
  name: ImageName,
  options: readonly string[],
  signal?: AbortSignal,
): Promise<RbdImage> {
  const answer = await askRbd(connection, {
    operation: 'look at rbd image',
    name,
    args: ['info', ...options],
    ...(signal === undefined ? {} : { signal }),
  });
  const info = new Answer('look at rbd image', name, answer);
  const parent = info.optional('parent');
  return {
    id: info.text('id'),
    bytes: info.number('size'),
    objectBytes: info.number('object_size'),
    features: info.texts('features'),
    flags: info.texts('flags'),
    ...(info.has('stripe_unit') ? { stripeUnit: info.number('stripe_unit') } : {}),
    ...(info.has('stripe_count') ? { stripeCount: info.number('stripe_count') } : {}),
    ...(info.has('data_pool') ? { dataPool: info.text('data_pool') } : {}),
    ...(parent === undefined ? {} : { parent: parentOf(parent) }),
  };
}

function parentOf(parent: Answer): RbdParent {
  return {
    pool: parent.text('pool'),
    namespace: parent.has('pool_namespace') ? parent.text('pool_namespace') : '',
    image: parent.text('image'),
    imageId: parent.has('id') ? parent.text('id') : '',
    snap: parent.text('snapshot'),
    trash: parent.flag('trash'),
    overlap: parent.number('overlap'),
  };
}

/** All snaps of an image, the oldest first; also those in the trash namespace. */
export async function listSnaps(
  connection: RbdConnection,
  name: ImageName,
  signal?: AbortSignal,
): Promise<RbdSnap[]> {
  const image = withoutSnap(checkImageName(name));
  return askForSnaps(connection, image, nameOptions(image), signal);
}

/** The same of an image that may be renamed or in the trash of its pool meanwhile. `image.image` is for messages. */
export async function listSnapsById(
  connection: RbdConnection,
  image: ImageName,
  imageId: string,
  signal?: AbortSignal,
): Promise<RbdSnap[]> {
  return askForSnaps(connection, image, idOptions(image, imageId), signal);
}

/** What an image is, by its id. */
export async function identifyById(
  connection: RbdConnection,
  name: ImageName,
  imageId: string,
  signal?: AbortSignal,
): Promise<RbdImage> {
  return askForImage(connection, name, idOptions(name, imageId), signal);
}

function idOptions({ pool, namespace }: ImageName, imageId: string): string[] {
  // Ceph's own ids are hexadecimal; one that comes from a repository could be anything.
  if (!/^[0-9a-zA-Z]+$/.test(imageId)) throw new Error(`${JSON.stringify(imageId)} is no id of an image`);
  return [
    '--pool',
    pool,
    ...(namespace === undefined ? [] : ['--namespace', namespace]),
    '--image-id',
    imageId,
  ];
}

async function askForSnaps(
  connection: RbdConnection,
  image: ImageName,
  options: readonly string[],
  signal?: AbortSignal,
): Promise<RbdSnap[]> {
  const operation = 'list snaps of rbd image';
  const answer = await askRbd(connection, {
    operation,
    name: image,
    args: ['snap', 'ls', '--all', ...options],
    ...(signal === undefined ? {} : { signal }),
  });
  if (!Array.isArray(answer)) throw unexpected(operation, image, 'no list');
  const snaps = answer.map((entry: unknown): RbdSnap => {
    const snap = new Answer(operation, image, entry);
    const namespace = snap.optional('namespace');
    return {
      id: snap.number('id'),
      name: snap.text('name'),
      bytes: snap.number('size'),
      protected: snap.flag('protected'),
      kind: namespace?.text('type') ?? 'user',
      ...(namespace?.has('original_name') === true ? { originalName: namespace.text('original_name') } : {}),
    };
  });
  return snaps.sort((a, b) => a.id - b.id);
}

/** An object of rbd's JSON, read field by field: anything unexpected is said, never taken as if it were nothing. */
class Answer {
  readonly #operation: string;
  readonly #name: ImageName;
  readonly #fields: ReadonlyMap<string, unknown>;

  constructor(operation: string, name: ImageName, value: unknown) {
    this.#operation = operation;
    this.#name = name;
    if (typeof value !== 'object' || value === null) throw unexpected(operation, name, 'no object');
    this.#fields = new Map(Object.entries(value));
  }

  has(field: string): boolean {
    return this.#fields.has(field);
  }

  optional(field: string): Answer | undefined {
    return this.has(field) ? new Answer(this.#operation, this.#name, this.#fields.get(field)) : undefined;
  }

  text(field: string): string {
    const value = this.#fields.get(field);
    if (typeof value !== 'string') throw this.#wrong(field);
    return value;
  }

  number(field: string): number {
    const value = this.#fields.get(field);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw this.#wrong(field);
    return value;
  }

  texts(field: string): string[] {
    const value = this.#fields.get(field);
    if (!Array.isArray(value)) throw this.#wrong(field);
    return value.map((text: unknown) => {
      if (typeof text !== 'string') throw this.#wrong(field);
      return text;
    });
  }

  /** Ceph writes truth values as words in some places. */
  flag(field: string): boolean {
    const value = this.#fields.get(field);
    if (value === true || value === 'true') return true;
    if (value === false || value === 'false') return false;
    throw this.#wrong(field);
  }

  #wrong(field: string): DatamoverError {
    return unexpected(this.#operation, this.#name, `no usable ${JSON.stringify(field)}`);
  }
}

function unexpected(operation: string, name: ImageName, cause: string): DatamoverError {
  return new DatamoverError({
    operation,
    subject: formatImageName(name),
    cause: `rbd's answer has ${cause}`,
    hint: 'this release of Ceph is not known to us: please report it with the output of rbd info --format json',
  });
}
