import { ImagePatch, type CellSink } from '../image-patch.ts';
import { badRecord, type DiffHandler, type DiffHeader } from './diff-format.ts';

/** The backup that an incremental diff is applied to. */
export interface DiffBase {
  /** The snap that was backed up; undefined where the backup does not know. */
  readonly snap: string | undefined;
  readonly bytes: number;
  /** For messages: `backup 1a2b3c4d`. */
  readonly name: string;
}

export interface DiffImageOptions {
  readonly cellBytes: number;
  readonly sink: CellSink;
  /** Of an incremental diff: its snap is compared with the one that the diff starts from. */
  readonly base?: DiffBase;
}

/** What a diff said of the image. */
export interface DiffFacts {
  /** Undefined where the diff led to the image's head, which nothing can be built on. */
  readonly snap: string | undefined;
  readonly fromSnap: string | undefined;
  readonly bytes: number;
}

/** Makes the cells of an image from a diff, full or incremental; handler of a DiffStream. */
export class DiffImage implements DiffHandler {
  readonly #options: DiffImageOptions;
  #header: DiffHeader | undefined;
  #patch: ImagePatch | undefined;
  #finished = false;

  constructor(options: DiffImageOptions) {
    this.#options = options;
  }

  /** After the stream's end. */
  facts(): DiffFacts {
    if (!this.#finished || this.#header === undefined) throw new Error('the diff has not ended');
    const { fromSnap, toSnap, bytes } = this.#header;
    return { snap: toSnap, fromSnap, bytes };
  }

  begin(header: DiffHeader): void {
    const { base, sink, cellBytes } = this.#options;
    if (header.fromSnap !== undefined) checkBase(header.fromSnap, base);
    const baseBytes = header.fromSnap === undefined ? 0 : (base?.bytes ?? 0);
    this.#header = header;
    this.#patch = new ImagePatch(sink, cellBytes, baseBytes);
    // Ceph sends nothing for what was cut off.
    if (header.bytes < baseBytes) this.#patch.free(header.bytes, Infinity);
  }

  write(): void {
    // The content comes with data().
  }

  data(offset: number, bytes: Uint8Array): void {
    this.#patch?.write(offset, bytes);
  }

  zero(offset: number, length: number): void {
    this.#patch?.free(offset, length);
  }

  end(): void {
    this.#patch?.finish(this.#header?.bytes ?? 0);
    this.#finished = true;
  }
}

function checkBase(fromSnap: string, base: DiffBase | undefined): void {
  if (base?.snap === fromSnap) return;
  const what = `it holds what changed since the snap ${fromSnap}`;
  const hint = 'export from the snap that was backed up last (rbd export-diff --from-snap), or a full diff';
  if (base === undefined)
    throw badRecord('the header', `${what}, and the volume has no backup of an image yet`, hint);
  throw badRecord(
    'the header',
    base.snap === undefined
      ? `${what}, and ${base.name} does not know of which snap it is`
      : `${what}, but ${base.name} is of the snap ${base.snap}`,
    hint,
  );
}
