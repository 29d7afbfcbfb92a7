import { randomUUID } from 'node:crypto';
import type { BlobProof } from '../repository/blob-proof.ts';
import { CELL_BYTES } from '../repository/saver/saver.ts';
import type { HeldRead } from '../volumes/driver.ts';
import type { SampleRequest } from './backup-plan.ts';
import type { BaseContent } from './fed-image.ts';
import {
  drawNumbers,
  drawSample,
  sameCells,
  sampleSize,
  type KeptCells,
  type SampleReport,
} from './sample.ts';

type ReadRanges = NonNullable<HeldRead['readRanges']>;

/** What is needed to compare cells of a base with a source. */
interface SampleSource {
  readonly base: Pick<BaseContent, 'content' | 'fingerprints'>;
  /** Bytes of the base and of the source. */
  readonly baseBytes: number;
  readonly bytes: number;
  readonly readRanges: ReadRanges;
  readonly proof: BlobProof;
}

/**
 * A sample of a base's cells that is compared with the source while the changes are read: which of the cells did not change is
 * known afterwards, and only those count. So the reading costs an increment hardly any time.
 */
export class EarlySample {
  readonly #source: SampleSource;
  readonly #request: SampleRequest;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #compared: Promise<ReadonlyMap<number, boolean>>;

  /** Begins at once; the base may be changed as soon as this returns. */
  constructor(source: SampleSource, request: SampleRequest, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#request = { seed: randomUUID(), ...request };
    this.#signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
    const chosen = drawNumbers(comparable(source), this.#request);
    this.#compared = this.#compare(chosen, source.base);
    this.#compared.catch(() => undefined);
  }

  /** What came of the cells that were taken over, and as many more as are wanted; undefined where there are none. */
  async report(kept: KeptCells): Promise<SampleReport | undefined> {
    const compared = new Map([...(await this.#compared)].filter(([cell]) => kept.cells.has(cell)));
    const wanted = sampleSize(kept.cells.size, this.#request.cells);
    if (compared.size < wanted) {
      const rest = kept.cells.copy();
      for (const cell of compared.keys()) rest.remove(cell);
      const more = drawSample(rest, { ...this.#request, cells: wanted - compared.size });
      for (const [cell, same] of await this.#compare(more, kept)) compared.set(cell, same);
    }
    if (compared.size === 0) return undefined;
    const ordered = [...compared].sort(([a], [b]) => a - b);
    const wrong = ordered.findIndex(([, same]) => !same);
    if (wrong < 0) return { cells: ordered.length };
    return { cells: wrong + 1, differsAt: (ordered[wrong]?.[0] ?? 0) * CELL_BYTES };
  }

  /** Nothing is read any more when it resolves. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.#compared.catch(() => undefined);
  }

  #compare(
    cells: readonly number[],
    of: Pick<BaseContent, 'content' | 'fingerprints'>,
  ): Promise<ReadonlyMap<number, boolean>> {
    const { bytes, readRanges, proof } = this.#source;
    return sameCells(readRanges, { ...of, imageBytes: bytes }, cells, proof, this.#signal);
  }
}

/** How many cells, from the first, the source has as well, and as long. */
function comparable({ baseBytes, bytes }: SampleSource): number {
  if (baseBytes === bytes) return Math.ceil(bytes / CELL_BYTES);
  return Math.floor(Math.min(baseBytes, bytes) / CELL_BYTES);
}
