import { toBytes } from '../repository/id.ts';
import type { Repository } from '../repository/repository.ts';
import { KnownCells, type CellRun, type KnownSpan } from '../repository/saver/saver.ts';
import type { Id } from '../repository/types.ts';
import { CELLS_PER_SEGMENT, SEGMENT_BYTES } from './layout.ts';
import { VolumeReader } from './volume-reader.ts';

/**
 * What an earlier backup has of an image's cells, read segment by segment just before the workers come there, so that a cell that is as
 * it was is told by its fingerprint and not hashed. What cannot be read is hashed: nothing here fails a backup.
 */
export class KnownImage {
  readonly cells = KnownCells.create(CELLS_PER_SEGMENT);
  readonly #reader: VolumeReader;
  /** Cells of each segment that are still to be told. */
  readonly #missing = new Map<number, number>();
  /** Segments that are still to be read, in the order in which the workers come to them. */
  readonly #ahead: number[];
  readonly #stop: AbortController;
  #reading: Promise<void> = Promise.resolve();
  #stopped = false;

  private constructor(reader: VolumeReader, told: readonly CellRun[] | 'all', stop: AbortController) {
    this.#reader = reader;
    this.#stop = stop;
    const segments = Math.ceil(reader.record.bytes / SEGMENT_BYTES);
    const runs = told === 'all' ? [{ first: 0, count: segments * CELLS_PER_SEGMENT }] : told;
    for (const { first, count } of runs) {
      for (let cell = first; cell < first + count;) {
        const segment = Math.floor(cell / CELLS_PER_SEGMENT);
        const end = Math.min(first + count, (segment + 1) * CELLS_PER_SEGMENT);
        this.#missing.set(segment, (this.#missing.get(segment) ?? 0) + end - cell);
        cell = end;
      }
    }
    this.#ahead = [...this.#missing.keys()].filter((segment) => segment < segments);
  }

  /** `told`: the cells that will be told, each once. Undefined where there is no earlier image to compare with. */
  static async open(
    repository: Repository,
    parent: Id | undefined,
    told: readonly CellRun[] | 'all',
    signal?: AbortSignal,
  ): Promise<KnownImage | undefined> {
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const reader = await openParent(repository, parent, either);
    if (reader?.record.format !== 'image') return undefined;
    const known = new KnownImage(reader, told, stop);
    await known.#readOn();
    return known;
  }

  /** A worker has dealt with the cell. */
  told(cell: number): void {
    const segment = Math.floor(cell / CELLS_PER_SEGMENT);
    const missing = (this.#missing.get(segment) ?? 0) - 1;
    this.#missing.set(segment, missing);
    if (missing !== 0) return;
    this.cells.drop(segment);
    void this.#readOn();
  }

  /** Afterwards nothing is read any more. */
  async close(): Promise<void> {
    this.#stopped = true;
    this.#stop.abort();
    await this.#reading;
  }

  /** Fills the room that there is. */
  async #readOn(): Promise<void> {
    this.#reading = this.#reading.then(() => this.#fill()).catch(() => void (this.#stopped = true));
    await this.#reading;
  }

  async #fill(): Promise<void> {
    for (;;) {
      const [segment] = this.#ahead;
      if (segment === undefined || this.#stopped || !this.cells.hasRoom) return;
      this.#ahead.shift();
      const span = this.#isMissing(segment) ? await this.#read(segment) : undefined;
      if (span !== undefined && this.#isMissing(segment)) this.cells.put(segment, span);
    }
  }

  #isMissing(segment: number): boolean {
    return (this.#missing.get(segment) ?? 0) > 0;
  }

  async #read(segment: number): Promise<KnownSpan | undefined> {
    const file = await this.#reader.segment(segment);
    const fingerprints = file && (await this.#reader.loadFingerprints(file));
    if (file === undefined || fingerprints === undefined) return undefined;
    return { ids: Buffer.concat(file.content.map(toBytes)), fingerprints };
  }
}

/** Any backup may be missing or damaged: then there is nothing to compare with. */
export async function openParent(
  repository: Repository,
  parent: Id | undefined,
  signal?: AbortSignal,
): Promise<VolumeReader | undefined> {
  if (parent === undefined) return undefined;
  try {
    return await VolumeReader.open(repository, parent, await repository.loadSnapshot(parent, signal), signal);
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}
